-- Epoch: cursors of one history mean nothing in another.

create or replace function jobfeed.epoch() returns text
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if pg_is_in_recovery() then
        raise exception 'the feed must be read on the primary; this server is a standby'
            using errcode = 'read_only_sql_transaction',
                  hint = 'Add target_session_attrs=read-write to the connection string.';
    end if;
    -- pg_control_checkpoint() shows the timeline of the last checkpoint, which is the old one for a while after a
    -- promotion; the name of the current WAL file begins with the timeline that is being written.
    return (
        select format('%s-%s-%s-%s-%s', system.system_identifier,
            substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8), pg_database.oid, installation.nonce,
            -- Null until a gateway has begun a new one.
            (select nonce from jobfeed.incarnation))
        from pg_control_system() as system, jobfeed.installation, pg_database
        where datname = current_database()
    );
end
$$;
comment on function jobfeed.epoch() is
'The history that snapshots of this database belong to: system identifier, timeline, database, and the nonces of the
installation and of the time since the last crash. Changes after a crash, a failover, a restore, a copy of the database
and a new installation. Error 25006 on a standby.
Example: 7312345678901234567-00000001-16384-0c4b2f0e-…-5d1e7a90-…';

create or replace function jobfeed.begin_incarnation() returns void
language sql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
    insert into jobfeed.incarnation default values on conflict do nothing
$$;
comment on function jobfeed.begin_incarnation() is
'Gives the time since the last crash its nonce, unless it has one; gateways call it after each connect.

Ids of transactions whose end was not flushed (aborted ones, those that wrote only unlogged tables, asynchronous commits)
are given out again after a crash. A snapshot from before it would take the new ones for seen.
Example: select jobfeed.begin_incarnation();';
