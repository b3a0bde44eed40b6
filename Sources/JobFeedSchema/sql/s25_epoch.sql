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
        select format('%s-%s-%s-%s', system.system_identifier,
            substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8), pg_database.oid, installation.nonce)
        from pg_control_system() as system, jobfeed.installation, pg_database
        where datname = current_database()
    );
end
$$;
comment on function jobfeed.epoch() is
'The history that snapshots of this database belong to: system identifier, timeline, database and installation nonce.
Changes after a failover, a restore, a copy of the database and a new installation. Error 25006 on a standby.
Example: 7312345678901234567-00000001-16384-0c4b2f0e-…';
