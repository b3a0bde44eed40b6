-- Migration 2: the log in four slots, so that retention never deletes a row, and who is no longer welcome.

do $migration$
declare
    next_seq bigint;
begin
    if exists (select from jobfeed.migration where version = 2) then
        return;
    end if;

    -- The log so far becomes slot 1 without being copied. Writers wait here until this transaction ends.
    lock table jobfeed.change in access exclusive mode;
    select case when is_called then last_value + 1 else last_value end into next_seq from jobfeed.change_seq_seq;
    alter table jobfeed.change rename to change_1;
    alter index jobfeed.change_xid rename to change_1_xid_idx;
    alter table jobfeed.change_1 alter seq drop identity;
    alter table jobfeed.change_1 add slot smallint not null default 1 constraint slot_1 check (slot = 1);
    alter table jobfeed.change_1 alter slot drop default;

    -- setval only: after a crash nextval would skip slots.
    create sequence jobfeed.current_slot as smallint maxvalue 4;
    comment on sequence jobfeed.current_slot is
        'last_value: the slot of jobfeed.change that is written. A sequence, because reading one is not MVCC: a REPEATABLE '
        'READ writer, too, learns at once that the slot has changed';
    perform setval('jobfeed.current_slot', 1);

    create table jobfeed.change (
        seq bigint generated always as identity,
        xid xid8 not null default pg_current_xact_id(),
        feed text not null,
        op "char" not null constraint change_op_check check (op in ('I', 'U', 'D', 'S', 'T')),
        key text,
        hop smallint,
        at timestamptz not null default clock_timestamp(),
        row jsonb,
        before jsonb,
        slot smallint not null default pg_sequence_last_value('jobfeed.current_slot')
    ) partition by list (slot);
    perform setval('jobfeed.change_seq_seq', next_seq, false);
    create index change_xid on jobfeed.change (xid);
    alter table jobfeed.change attach partition jobfeed.change_1 for values in (1);
    alter table jobfeed.change_1 drop constraint slot_1;
    create table jobfeed.change_2 partition of jobfeed.change for values in (2);
    create table jobfeed.change_3 partition of jobfeed.change for values in (3);
    create table jobfeed.change_4 partition of jobfeed.change for values in (4);
    comment on table jobfeed.change is
        'the log. I: row = new. U: row = new without unchanged large columns, before = old values of what changed. '
        'D: row = old. S (a row of an owner-path table changed): row, before = its linking columns. T: truncated';
    comment on column jobfeed.change.seq is 'order of the changes of one key; across keys it is not commit order';
    comment on column jobfeed.change.xid is 'the top-level transaction; readers compare snapshots with it';
    comment on column jobfeed.change.hop is 'S only: which table of the owner path, 1 is the nearest';
    comment on column jobfeed.change.slot is
        'where the row is stored until jobfeed.rotate empties that; it says nothing about order';

    create table jobfeed.log_slot (
        number smallint primary key check (number between 1 and 4),
        opened_at timestamptz not null default now(),
        sealed pg_snapshot,
        sealed_at timestamptz,
        overdue_since timestamptz
    );
    comment on table jobfeed.log_slot is 'one row per slot of the log; written by jobfeed.rotate alone';
    comment on column jobfeed.log_slot.opened_at is 'since when changes go, or when they last began to go, into this slot';
    comment on column jobfeed.log_slot.sealed is
        'a snapshot that saw every change of the slot, as far as they were committed when it was taken';
    comment on column jobfeed.log_slot.overdue_since is
        'since when the slot has been due to be emptied and could not be; null: it is not';
    insert into jobfeed.log_slot (number) select generate_series(1, 4);

    for slot in 1 .. 4 loop
        execute format('comment on table jobfeed.change_%s is %L', slot, format('slot %s of the log', slot));
        -- Rows are never updated or deleted, and a vacuum would only stand in the way of TRUNCATE.
        execute format('alter table jobfeed.change_%s set '
            '(autovacuum_vacuum_insert_threshold = -1, toast.autovacuum_vacuum_insert_threshold = -1)', slot);
    end loop;

    alter table jobfeed.horizon add snapshot pg_snapshot;
    comment on table jobfeed.horizon is 'one row: how far the log has been dropped';
    comment on column jobfeed.horizon.xid is 'the highest transaction ever dropped from the log; 0: none was';
    comment on column jobfeed.horizon.snapshot is
        'every change ever dropped from the log is visible in it, so the log is complete for a snapshot that includes '
        'this one; null: nothing was ever dropped';

    create unlogged table jobfeed.incarnation (
        only_one boolean primary key default true check (only_one),
        nonce uuid not null default gen_random_uuid()
    );
    comment on table jobfeed.incarnation is
        'one row, which a crash of the server takes away: unflushed transaction ids are given out again after one';

    create table jobfeed.revocation (
        id bigint generated always as identity primary key,
        user_name text,
        token_id text,
        revoked_at timestamptz not null default clock_timestamp(),
        expires_at timestamptz not null,
        check (num_nonnulls(user_name, token_id) = 1),
        check (expires_at > revoked_at)
    );
    comment on table jobfeed.revocation is
        'who was kicked: gateways end the sessions of that user or token, and until expires_at refuse tokens of the user '
        'that were issued before revoked_at, or the token with that id (claim jti); written by jobfeed.kick';

    insert into jobfeed.migration (version) values (2);
end
$migration$;
