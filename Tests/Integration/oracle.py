"""What a viewer may hold, as row-level security says it."""

import time

import wire


def visible(connection, user, access="account", table="job", columns="*", where="true", key=("id",), parse=wire.parse):
    """The rows as to_jsonb gives them, by key, selected as that user."""
    role = "jobfeed_operator" if access == "operator" else "jobfeed_account"
    with connection.transaction(force_rollback=True):
        connection.execute("set local timezone = 'UTC'")
        if columns == "*":
            # An account may not say *: hidden columns are not granted to it.
            columns = connection.execute(
                "select string_agg(quote_ident(attname), ', ' order by attnum) from pg_attribute"
                " where attrelid = %s::regclass and attnum > 0 and not attisdropped"
                " and has_column_privilege(%s, attrelid, attnum, 'select')",
                [table, role],
            ).fetchone()[0]
        connection.execute(f"set local role {role}")
        connection.execute("select set_config('jobfeed.user', %s, true)", [user])
        connection.execute("select set_config('jobfeed.access', %s, true)", [access])
        found = connection.execute(
            f"select to_jsonb(x)::text from (select {columns} from {table} where {where}) x").fetchall()
    rows = [parse(text) for (text,) in found]
    return {wire.key_text(row, key): row for row in rows}


def without(rows, *columns):
    return {key: {name: value for name, value in row.items() if name not in columns} for key, row in rows.items()}


def difference(held, wanted):
    """In words; empty when equal."""
    lines = [f"missing {key}: {str(wanted[key])[:300]}" for key in wanted.keys() - held.keys()]
    lines += [f"too much {key}: {str(held[key])[:300]}" for key in held.keys() - wanted.keys()]
    for key in held.keys() & wanted.keys():
        if held[key] != wanted[key]:
            names = [n for n in held[key].keys() | wanted[key].keys() if held[key].get(n, "?") != wanted[key].get(n, "?")]
            lines += [f"{key}.{n} is {str(held[key].get(n, 'absent'))[:200]}, not {str(wanted[key].get(n, 'absent'))[:200]}"
                      for n in names]
    return "\n".join(lines)


def settles(client, subscription, wanted, quiet=("updated_at",), timeout=wire.PATIENCE):
    """Waits until the subscription holds what `wanted()` says; quiet columns may be late."""
    deadline = time.monotonic() + timeout
    while True:
        target = without(wanted(), *quiet)
        with client.changed:
            client.check()
            found = difference(without(subscription.rows, *quiet), target)
            if not found and subscription.state == "live" and not subscription.in_batch:
                return
        assert client.close_code is None, f"closed with {client.close_code} {client.close_reason}"
        assert time.monotonic() < deadline, f"{subscription.id} {subscription.channel} of {client.user}:\n{found}"
        time.sleep(0.02)
