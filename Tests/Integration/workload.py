"""Random writers: every kind of change, isolation level and ending, and long transactions among short ones."""

import collections
import json
import random
import threading
import time

import psycopg

USERS = [f"user{n}" for n in range(20)]
OPERATORS = ["op0", "op1"]
ROWS = 260  # about how many jobs there are at most
EXPECTED = (psycopg.errors.SerializationFailure, psycopg.errors.DeadlockDetected, psycopg.errors.IntegrityError)


def setup(connection):
    for user in USERS:
        stable, *_ = [connection.execute(
            "insert into thread (title, author) values (%s, %s) returning id", [title, user]).fetchone()[0]
            for title in ("stable", "volatile", "volatile")]
        connection.execute(
            "insert into job (assigned_to, path) select %s, path from unnest(array['/marker', '/stable', '/stable',"
            " '/stable', '/long']) path", [stable])
        connection.execute("insert into job (assigned_to, path) select id, '/a' from thread where author = %s"
                           " and title = 'volatile'", [user])
    # Only long transactions give these another author.
    connection.execute("insert into thread (title, author) select 'long', 'user' || n from generate_series(0, 5) n")
    connection.execute("insert into job (assigned_to, path) select id, '/b' from thread where title = 'long'")


class Writer(threading.Thread):
    """Random transactions until told to stop."""

    def __init__(self, dsn, seed, number):
        super().__init__(daemon=True)
        self.dsn, self.number = dsn, number
        self.random = random.Random(f"{seed} writer {number}")
        self.count = 0
        self.done = collections.Counter()
        self.problem = None
        self.is_over = threading.Event()

    def run(self):
        try:
            with psycopg.connect(self.dsn, autocommit=True) as connection:
                while not self.is_over.is_set():
                    try:
                        self.transaction(connection)
                    except EXPECTED:
                        connection.execute("rollback")
                        self.done["failed"] += 1
                    self.pause()
        except BaseException as problem:
            self.problem = problem

    def pause(self):
        self.is_over.wait(self.random.random() * 0.03)

    def begin(self, connection):
        isolation = self.random.choice(["read committed"] * 3 + ["repeatable read", "serializable"])
        witness = self.random.choice(["on", "off"])
        connection.execute(f"begin isolation level {isolation}; set local audit.witness = {witness}")

    def end(self, connection, rollbacks):
        ending = "rollback" if self.random.random() < rollbacks else "commit"
        connection.execute(ending)
        self.done[ending] += 1

    def transaction(self, connection):
        self.begin(connection)
        for _ in range(self.random.choice([1, 1, 1, 2, 3, 5])):
            if self.random.random() < 0.1:
                connection.execute("savepoint s")
                self.change(connection)
                connection.execute("rollback to s" if self.random.random() < 0.6 else "release s")
            self.change(connection)
            if self.random.random() < 0.15:
                time.sleep(self.random.random() * 0.03)
        self.end(connection, 0.08)

    def token(self, mark=""):
        self.count += 1
        return f"{mark}{self.number}-{self.count}"

    def payload(self):
        content = {"token": self.token(), "kind": self.random.choice("xyz")}
        if self.random.random() < 0.3:
            content["data"] = [self.random.randrange(10**6) for _ in range(self.random.choice([3, 400]))]
        if self.random.random() < 0.2:
            content["text"] = self.random.choice(["\"quoted\" \\ \n", "é\u0301 😀", "\u2028 </script>", ""])
            content["number"] = self.random.choice([1.5, -0.25, 10**20, 1e-7])
        return json.dumps(content)

    def progress(self):
        percent = self.random.choice([self.random.randrange(100), round(self.random.random() * 100, 2)])
        return json.dumps({"percent": percent, "message": self.token()})

    def change(self, connection):
        r = self.random
        stable, volatile = "path like '/stable%%'", "path not like '/stable%%' and path not in ('/marker', '/long')"
        one = "id = (select id from job where {} order by random() limit 1)".format
        few = f"(select count(*) from job) < {ROWS}"

        def thread(titles="'volatile', 'volatile', 'long'"):
            return f"(select id from thread where title in ({titles}) order by random() limit 1)"

        changing = thread("'volatile'")
        any_job = one(r.choice([stable, volatile, volatile]))
        status = r.choice(["pending", "processing", "success", "failed"])
        kind, statement, values = r.choices([
            ("status", f"update job set status = %s where {any_job}", [status]),
            ("progress", f"update job set progress = %s where {any_job}", [self.progress()]),
            ("several", f"update job set status = %s, retries = %s, payload = %s where {any_job}",
             [status, r.randrange(4), self.payload()]),
            ("payload", f"update job set payload = %s, assignee = %s where {any_job}", [self.payload(), self.token()]),
            ("plain", f"update job set {r.choice(['retries', 'delay', 'max_retries', 'timeout'])} = %s where {any_job}",
             [r.randrange(5)]),
            ("other plain", f"update job set {r.choice(['created_at = clock_timestamp()', 'retry_strategy = %s'])}"
             f" where {any_job}", [r.choice(["linear", "exponential"])]),
            ("null", f"update job set {r.choice(['payload', 'progress', 'timeout', 'assignee'])} = null where {any_job}", []),
            ("hidden", f"update job set errors = %s where {any_job}", [json.dumps([self.token("hidden-")])]),
            ("path", f"update job set path = %s where {one(volatile)}", [r.choice(["/a", "/ab", "/b"])]),
            ("no-op", f"update job set path = path, retries = retries where {any_job}", []),
            ("quiet", f"update job set updated_at = clock_timestamp() where {any_job}", []),
            ("insert", f"insert into job (assigned_to, path, status, payload, assignee, progress)"
             f" select {r.choice([thread(), thread(), thread(), 'null'])}, %s, %s, %s, %s, %s"
             f" from generate_series(1, %s) where {few}",
             [r.choice(["/a", "/b"]), status, self.payload(), self.token(), self.progress(), r.choice([1, 1, 4])]),
            ("insert stable", "insert into job (assigned_to, path, status, payload) select id, '/stable', %s, %s from"
             f" thread where title = 'stable' and {few} order by random() limit 1", [status, self.payload()]),
            ("delete stable", "delete from job where id = (select min(id) from job where path = '/stable' and id > 200)"
             f" and not ({few})", []),
            ("delete", f"delete from job where {one(volatile)}", []),
            ("re-link", f"update job set assigned_to = {r.choice([thread(), thread(), thread(), 'null'])}"
             f" where {one(volatile)}", []),
            ("re-link and write", f"update job set assigned_to = {thread()}, payload = %s, status = %s"
             f" where {one(volatile)}", [self.payload(), status]),
            ("author", f"update thread set author = %s where id = {changing}", [r.choice(USERS)]),
            ("author and write", f"with t as (update thread set author = %s where id = {changing} returning id)"
             " update job set payload = %s, status = %s where assigned_to in (select id from t)",
             [r.choice(USERS), self.payload(), status]),
            ("title", f"update thread set title = title || '' , created_at = clock_timestamp() where id = {changing}", []),
            ("delete thread", f"delete from thread where id = {changing}", []),
            ("insert thread", "insert into thread (title, author) select 'volatile', %s"
             " where (select count(*) from thread) < 100", [r.choice(USERS)]),
            ("bulk", "update job set retries = (retries + 1) %% 4 where path <> '/long' and id %% 5 = %s", [r.randrange(5)]),
            ("bulk re-link", f"update job set assigned_to = {thread()}, assignee = %s where {volatile} and id %% 9 = %s",
             [self.token(), r.randrange(9)]),
            ("other key", f"update job set id = nextval(pg_get_serial_sequence('job', 'id')) where {one(volatile)}", []),
            ("gone and born", f"with gone as (delete from job where {one(volatile)} returning *)"
             " select id, assigned_to from gone", []),
        ], weights=[16, 12, 6, 8, 8, 3, 3, 4, 5, 3, 3, 11, 3, 1, 5, 8, 6, 6, 2, 1, 1.5, 3, 2, 1, 2, 2])[0]
        self.done[kind] += 1
        cursor = connection.execute(statement, values if "%s" in statement else [])
        if kind == "gone and born":
            for id, link in cursor.fetchall():
                connection.execute("insert into job (id, assigned_to, path, payload) values (%s, %s, '/a', %s)",
                                   [id, link, self.payload()])


class LongWriter(Writer):
    """Transactions held open over many steps, on rows that no other writer waits for."""

    def pause(self):
        self.is_over.wait(self.random.random() * 0.3)

    def transaction(self, connection):
        self.begin(connection)
        r = self.random
        for _ in range(r.randrange(1, 6)):
            user = r.choice(USERS)
            mine = f"path = '/long' and id %% 2 = {self.number % 2} and assigned_to = (select min(id) from thread where" \
                   " title = 'stable' and author = %s)"
            kind, statement, values = r.choice([
                ("long status", f"update job set status = %s, payload = %s where {mine}",
                 [r.choice(["pending", "processing", "success", "failed"]), self.payload(), user]),
                ("long insert", f"insert into job (assigned_to, path, assignee) select assigned_to, '/long', %s from job"
                 f" where {mine} and (select count(*) from job) < {ROWS} limit 1", [self.token(), user]),
                ("long delete", f"delete from job where id = (select max(id) from job where {mine}) and id > 200", [user]),
                ("long author", "update thread set author = %s where id = (select id from thread where title = 'long'"
                 f" and id %% 2 = {self.number % 2} order by random() limit 1)", [user]),
            ])
            self.done[kind] += 1
            connection.execute(statement, values)
            self.is_over.wait(r.random() * r.choice([0.2, 1.5]))
        self.end(connection, 0.25)
