"""`jobfeed-server attach`: presets from the command line, what is proposed without one, and what it says of mistakes."""

import pathlib
import re
import shlex
import subprocess

import pytest
import systems
from conftest import ROOT, SERVER, install

PAGES = pathlib.Path(ROOT, "docs", "systems")


def in_public(ddl):
    return re.sub(r"create schema (sp00ky|spooled|better);|(re)?set search_path.*;", "", ddl)


# What the pages take for granted.
SYSTEMS = {
    "sp00ky": in_public(systems.SPOOKY), "fluxbase": systems.FLUXBASE, "spooled": in_public(systems.SPOOLED),
    "better-query": in_public(systems.BETTER_QUERY),
}


def attach(database, *arguments):
    return subprocess.run(
        [SERVER, "attach", *arguments], env={"DATABASE_URL": database.dsn()}, capture_output=True, text=True, timeout=60)


def feeds(database):
    return dict(database.connect().execute("select name, to_jsonb(f) from jobfeed.feed f").fetchall())


@pytest.fixture(scope="module")
def bare_template(postgres):
    postgres.execute("create database bare_template template template0")
    install(postgres.dsn("bare_template"), reference_tables=False)
    return "bare_template"


@pytest.fixture
def bare(postgres, bare_template):
    with postgres.fresh_database(bare_template) as fresh:
        yield fresh
        fresh.close()


@pytest.fixture(scope="module")
def outbox(postgres, bare_template):
    """A database with the tables of Sp00ky, in which the tests of a module leave no feed."""
    with postgres.fresh_database(bare_template) as shared:
        shared.connect().execute(SYSTEMS["sp00ky"])
        yield shared
        shared.close()


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_pages_say_what_happens(bare, system):
    bare.connect().execute(SYSTEMS[system])
    page = (PAGES / f"{system}.md").read_text()
    commands = re.findall(r"^ *\$ (jobfeed-server attach .*|psql .*)\n((?:(?! *[$`]).+\n)*)", page, re.MULTILINE)
    assert commands
    for command, output in commands:
        words = shlex.split(command)
        if words[0] == "psql":
            bare.connect().execute(words[words.index("-c") + 1])
            continue
        done = attach(bare, *words[2:])
        assert done.returncode == 0, done.stderr
        assert not output or done.stdout == output
    assert feeds(bare)


def test_a_dry_run_prints_the_call_and_makes_none(outbox):
    done = attach(outbox, "--preset", "sp00ky", "--table", "job", "--owner", "", "--hidden", 'path,we"ird', "--dry-run")
    assert done.stdout == (
        """SELECT jobfeed.attach_preset('sp00ky', 'job', owner => '', hidden => E'{"path","we\\\\"ird"}');\n""")
    assert feeds(outbox) == {}


@pytest.mark.parametrize("arguments, message", [
    (["--preset", "spooky", "--table", "job"], 'there is no preset "spooky"; did you mean "sp00ky"?'),
    (["--preset", "fluxbase", "--table", "job"], 'job has no column "job_name", so it is not what preset "fluxbase" is for'),
    (["--preset", "sp00ky", "--table", "jbo"], 'there is no table jbo; did you mean "job"?'),
    (["--preset", "sp00ky", "--table", "job", "--owner", "assigned_to.autor"],
     'thread has no column "autor"; did you mean "author"?'),
    (["--preset", "sp00ky", "--table", "job", "--owner", "path.author"], '"path" of job is not part of a foreign key'),
    (["--preset", "sp00ky", "--table", "job", "--quiet", "lease_until"], None),  # then stalled_at is left out
    (["--preset", "sp00ky", "--table", "job", "--gauges", "updatedat"], 'job has no column "updatedat"; did you mean "updated_at"?'),
    (["--table", "job"], None),
    (["--table", "thread", "--apply"], 'feed "thread" needs a status column'),
])
def test_mistakes_are_named(outbox, arguments, message):
    done = attach(outbox, *arguments)
    if message is None:
        assert done.returncode == 0, done.stderr
        outbox.connect().execute("select jobfeed.detach(name) from jobfeed.feed")
    else:
        assert done.returncode == 78 and message in done.stderr
    assert feeds(outbox) == {}


@pytest.mark.parametrize("arguments", [
    ["--preset", "sp00ky"], ["--preset", "sp00ky", "--table", "a", "--table", "b", "--feed", "f"], ["--table", "a", "--table", "b"],
    ["--preset", "sp00ky", "--table", "a", "--status", "s"], ["--table", "a", "--heartbeats"],
    ["--table", "a", "--owner", "o", "--operators-only"],
])
def test_contradictions_are_refused(database, arguments):
    assert attach(database, *arguments).returncode == 64


def test_without_jobfeed_it_says_so(database):
    database.connect().execute("create table job (id int primary key, status text)")
    done = attach(database, "--preset", "sp00ky", "--table", "job")
    assert done.returncode == 78 and "run `jobfeed-server install`" in done.stderr


PROPOSALS = [
    # By a preset that fits.
    (systems.FLUXBASE, "jobs.queue", {"preset": "fluxbase"}),
    # By names, types and keys.
    ("""create type phase as enum ('new', 'done');
        create table account (id int primary key, user_id uuid not null);
        create table "Tasks" (a int, b int, stage phase, for_account int references account, api_token text,
            heartbeat_at timestamptz, "progressPercent" int, title text, primary key (b, a))""", '"Tasks"',
     {"feed": "tasks", "key": "{b,a}", "status": "stage", "owner": "for_account.user_id", "secret": "{api_token}",
      "quiet": "{heartbeat_at}", "gauges": "{progressPercent}"}),
    # A check of what it may be; a unique index in place of a primary key; an owner of its own.
    ("""create table work (code text not null unique, kind text check (kind in ('a', 'b')), "createdBy" text)""", "work",
     {"feed": "work", "key": "{code}", "status": "kind", "owner": '"createdBy"'}),
    # Nothing to go by.
    ("create table heap (name text, size int)", "heap", {"feed": "heap", "key": None, "status": None, "owner": None}),
]


@pytest.mark.parametrize("ddl, table, settings", PROPOSALS)
def test_a_table_is_inspected(bare, ddl, table, settings):
    connection = bare.connect()
    connection.execute(ddl)
    proposed = connection.execute("select setting, value, why from jobfeed.propose(%s)", [table]).fetchall()
    assert {setting: value for setting, value, _ in proposed} == settings
    assert all(why for *_, why in proposed)

    shown = attach(bare, "--table", table)
    assert shown.returncode == 0 and "Nothing was changed" in shown.stdout
    assert all(f"{setting}: {value or '?'}" in shown.stdout for setting, value in settings.items())
    assert feeds(bare) == {}
    dry = attach(bare, "--table", table, "--dry-run").stdout.strip()
    assert dry in shown.stdout
    applied = attach(bare, "--table", table, "--apply")
    if settings.get("status") or "preset" in settings:
        assert applied.returncode == 0, applied.stderr
        before = feeds(bare)
        assert len(before) == 1
        # The SQL that was shown says the same.
        connection.execute(dry)
        assert [feed["hidden"] for feed in feeds(bare).values()] == [feed["hidden"] for feed in before.values()]
    else:
        assert applied.returncode == 78
