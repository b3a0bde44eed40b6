-- Migration 1: the tables. A migration runs once; the files after it run at every install.

create schema if not exists jobfeed;
comment on schema jobfeed is 'jobfeed: changes of attached tables, logged in the transaction that made them';

create table if not exists jobfeed.migration (
    version int primary key,
    applied_at timestamptz not null default now()
);
comment on table jobfeed.migration is 'migrations applied to this database';

do $migration$
begin
    if exists (select from jobfeed.migration where version = 1) then
        return;
    end if;

    create table jobfeed.installation (
        only_one boolean primary key default true check (only_one),
        nonce uuid not null default gen_random_uuid(),
        installed_at timestamptz not null default now(),
        version int not null
    );
    comment on table jobfeed.installation is 'one row: which installation this is, and its schema version';
    insert into jobfeed.installation (version) values (1);

    create table jobfeed.feed (
        name text primary key check (name ~ '^[a-z][a-z0-9_]{0,62}$'),
        relation regclass not null unique,
        schema_name text not null,
        table_name text not null,
        key text[] not null,
        status text not null,
        owner text,
        hops jsonb not null default '[]',
        owner_column text,
        hidden text[] not null default '{}',
        quiet text[] not null default '{}',
        gauges text[] not null default '{}',
        order_column text,
        since xid8 not null default pg_current_xact_id(),
        attached_at timestamptz not null default now(),
        row_security_was_off boolean not null
    );
    comment on table jobfeed.feed is 'one row per attached table: everything a gateway has to know about it';
    comment on column jobfeed.feed.owner is
        'the owner path as it was given, e.g. assigned_to.author; null: operators only';
    comment on column jobfeed.feed.hops is
        'the owner path resolved: [{"schema":"public","table":"thread","from":["assigned_to"],"to":["id"]}]; '
        '"from" are columns of the table before, "to" the columns of this table they refer to';
    comment on column jobfeed.feed.owner_column is
        'the column of the last hop (of the table itself without hops) that names the owner';
    comment on column jobfeed.feed.hidden is 'columns that accounts may not read';
    comment on column jobfeed.feed.quiet is 'columns whose change alone is not logged';
    comment on column jobfeed.feed.gauges is 'columns of which only the latest value matters';
    comment on column jobfeed.feed.order_column is 'created_at when the table has it';
    comment on column jobfeed.feed.since is
        'the attaching transaction: the log proves nothing about snapshots that do not see it';
    comment on column jobfeed.feed.row_security_was_off is 'attach switched row security on, detach switches it off';

    create table jobfeed.schema_usage (
        schema_name text not null,
        role_name text not null,
        primary key (schema_name, role_name)
    );
    comment on table jobfeed.schema_usage is 'USAGE on schemas that attach granted and detach has to revoke';

    create table jobfeed.change (
        seq bigint generated always as identity,
        xid xid8 not null default pg_current_xact_id(),
        feed text not null,
        op "char" not null check (op in ('I', 'U', 'D', 'S', 'T')),
        key text,
        hop smallint,
        at timestamptz not null default clock_timestamp(),
        row jsonb,
        before jsonb
    );
    create index change_xid on jobfeed.change (xid);
    comment on table jobfeed.change is
        'the log. I: row = new. U: row = new without unchanged large columns, before = old values of what changed. '
        'D: row = old. S (a row of an owner-path table changed): row, before = its linking columns. T: truncated';
    comment on column jobfeed.change.seq is 'order of the changes of one key; across keys it is not commit order';
    comment on column jobfeed.change.xid is 'the top-level transaction; readers compare snapshots with it';
    comment on column jobfeed.change.hop is 'S only: which table of the owner path, 1 is the nearest';

    create table jobfeed.horizon (
        only_one boolean primary key default true check (only_one),
        xid xid8 not null default '0'
    );
    comment on table jobfeed.horizon is 'one row: the highest transaction ever dropped from the log';
    insert into jobfeed.horizon default values;

    create unlogged table jobfeed.node (
        node text primary key,
        pid int not null,
        asleep boolean not null default false,
        seen_at timestamptz not null default now()
    );
    comment on table jobfeed.node is
        'one row per running gateway; unlogged, because gateways write it again after a crash';

    insert into jobfeed.migration (version) values (1);
end
$migration$;
