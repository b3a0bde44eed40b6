-- Retention: the log is four slots, written one after the other. The oldest is emptied by TRUNCATE before the newest has
-- its turn; nothing is ever deleted row by row.
--
-- TRUNCATE is not MVCC-safe: to a snapshot taken before it the slot looks empty. So readers first
-- LOCK TABLE jobfeed.change IN ACCESS SHARE MODE, which waits for a TRUNCATE to commit, and only then take the snapshot,
-- which thereby sees the horizon that was raised with it.

create or replace function jobfeed.slot_is_within(slot int, seen pg_snapshot) returns boolean
language plpgsql volatile strict
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
declare
    is_within boolean;
begin
    execute format(
        'select not exists (select from jobfeed.change_%1$s where xid >= pg_snapshot_xmax($1)) '
        'and not exists (select from jobfeed.change_%1$s where xid = any (array(select pg_snapshot_xip($1))))', slot)
    into is_within using seen;
    return is_within;
end
$$;
comment on function jobfeed.slot_is_within(int, pg_snapshot) is
'Whether a snapshot sees all changes in a slot of the log that are committed by now; null for null.
Example: jobfeed.slot_is_within(1, pg_current_snapshot()) = true';

create or replace function jobfeed.later_of(one pg_snapshot, other pg_snapshot) returns pg_snapshot
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
    select case when one is null then other
                when other is null then one
                -- Of two snapshots of one primary the later one includes the other.
                when (pg_snapshot_xmax(one), -(select count(*) from pg_snapshot_xip(one)))
                   > (pg_snapshot_xmax(other), -(select count(*) from pg_snapshot_xip(other))) then one
                else other end
$$;
comment on function jobfeed.later_of(pg_snapshot, pg_snapshot) is
'The one of two snapshots of this database that sees everything that the other sees; nulls count as having seen nothing.
Example: jobfeed.later_of(''10:20:10'', ''10:20:10,12'') = ''10:20:10''';

create or replace function jobfeed.empty_slot(slot int, grace interval) returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    known constant jobfeed.log_slot := (select s from jobfeed.log_slot s where number = slot);
    highest xid8;
begin
    -- What was committed into the slot late must have been seen by every node before it is dropped.
    if known.sealed is null or known.sealed_at > clock_timestamp() - grace then
        return 'waiting';
    end if;
    execute format('lock table jobfeed.change_%s in access exclusive mode', slot);
    -- Nobody is writing into the slot now, and whoever was has committed or has not.
    if not jobfeed.slot_is_within(slot, known.sealed) then
        return 'waiting';
    end if;
    execute format('select xid from jobfeed.change_%s order by xid desc limit 1', slot) into highest;
    if highest is not null then
        update jobfeed.horizon h
        set xid = greatest(h.xid, highest), snapshot = jobfeed.later_of(h.snapshot, known.sealed);
    end if;
    execute format('truncate jobfeed.change_%s', slot);
    update jobfeed.log_slot set sealed = null, sealed_at = null, overdue_since = null where number = slot;
    return 'emptied';
exception when lock_not_available then
    return 'blocked';
end
$$;
comment on function jobfeed.empty_slot(int, interval) is
'Drops the changes in a slot of the log and raises the horizon above them, or says why that has to wait: ''waiting'' or
''blocked'', as jobfeed.rotate. The caller has set lock_timeout.
Example: select jobfeed.empty_slot(1, ''1 minute'') → emptied';

create or replace function jobfeed.rotate(
    retain_age interval,
    retain_bytes bigint,
    lock_timeout interval default '100 ms',
    grace interval default '1 minute',
    out outcome text,
    out slot int,
    out bytes bigint,
    out oldest timestamptz,
    out overdue_since timestamptz
)
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '100ms'
set enable_seqscan = off
as $$
declare
    wrong text;
    seen pg_snapshot;
    current_slot int;
    next_slot int;
    known record;
    is_due boolean;
begin
    wrong := case
        when retain_age is null or retain_age <= '0' then
            format('retain_age must be longer than nothing, such as 1 day; it is %s', coalesce(retain_age::text, 'null'))
        when retain_bytes is null or retain_bytes <= 0 then
            format('retain_bytes must be positive, such as 1000000000; it is %s', coalesce(retain_bytes::text, 'null'))
        when lock_timeout is null or lock_timeout < '1 ms' then
            format('lock_timeout must be 1 ms or longer; it is %s', coalesce(lock_timeout::text, 'null'))
        when grace is null or grace < '0' then
            format('grace must not be negative; it is %s', coalesce(grace::text, 'null'))
    end;
    if wrong is not null then
        raise exception 'jobfeed.rotate: %', wrong using errcode = 'invalid_parameter_value';
    end if;
    -- With an older snapshot, changes that were committed a moment ago would be dropped unseen.
    if current_setting('transaction_isolation') in ('repeatable read', 'serializable')
        or pg_current_xact_id_if_assigned() is not null
    then
        raise exception 'jobfeed.rotate needs a READ COMMITTED transaction of its own'
            using errcode = 'active_sql_transaction';
    end if;

    if not pg_try_advisory_xact_lock(hashtextextended('jobfeed rotate', 0)) then
        outcome := 'busy';
        return;
    end if;
    perform set_config('lock_timeout', ceil(extract(epoch from lock_timeout) * 1000)::text, true);
    seen := pg_current_snapshot();
    current_slot := (select last_value from jobfeed.current_slot);
    next_slot := current_slot % 4 + 1;

    for known in select * from jobfeed.log_slot order by number loop
        -- The clock was set back: nothing waits until it is again where it was.
        if greatest(known.opened_at, known.sealed_at) > clock_timestamp() then
            update jobfeed.log_slot s
            set opened_at = least(s.opened_at, clock_timestamp()),
                sealed_at = case when s.sealed_at is not null then least(s.sealed_at, clock_timestamp()) end
            where number = known.number;
        end if;
        if known.number <> current_slot and jobfeed.slot_bytes(known.number) > 0
            and not coalesce(jobfeed.slot_is_within(known.number, known.sealed), false)
        then
            update jobfeed.log_slot set sealed = seen, sealed_at = clock_timestamp() where number = known.number;
        end if;
    end loop;

    is_due := jobfeed.slot_bytes(current_slot) > 0 and (
        jobfeed.slot_bytes(current_slot) > retain_bytes / 4
        or clock_timestamp() - (select opened_at from jobfeed.log_slot where number = current_slot) > retain_age / 3
    );
    if not is_due then
        outcome := 'idle';
    elsif jobfeed.slot_bytes(next_slot) > 0 then
        -- The switch is left to the next call, so that no writer waits for this transaction.
        outcome := jobfeed.empty_slot(next_slot, grace);
        if outcome <> 'emptied' then
            update jobfeed.log_slot s set overdue_since = coalesce(s.overdue_since, clock_timestamp())
            where number = next_slot
            returning s.overdue_since into rotate.overdue_since;
        end if;
    else
        outcome := 'switched';
        update jobfeed.log_slot s
        set opened_at = clock_timestamp(), sealed = null, sealed_at = null, overdue_since = null
        where number = next_slot;
        perform setval('jobfeed.current_slot', next_slot);
        current_slot := next_slot;
    end if;
    if outcome in ('emptied', 'switched') then
        perform jobfeed.ring_always();
    end if;

    slot := current_slot;
    bytes := (select sum(jobfeed.slot_bytes(number)) from jobfeed.log_slot);
    -- The change with the lowest xid of a slot is among its oldest, and the index finds it.
    select min(at) into oldest from (
        (select at from jobfeed.change_1 order by xid limit 1) union all
        (select at from jobfeed.change_2 order by xid limit 1) union all
        (select at from jobfeed.change_3 order by xid limit 1) union all
        (select at from jobfeed.change_4 order by xid limit 1)
    ) as firsts;
end
$$;
comment on function jobfeed.rotate(interval, bigint, interval, interval) is
'Keeps the log within bounds; to be called every few seconds by every gateway, in a READ COMMITTED transaction of its own.
A slot has had its turn when it is older than a third of retain_age or larger than a quarter of retain_bytes. Then one
call empties the next slot (''emptied'') and the call after it directs writers there (''switched'').
  retain_age    how long changes are kept at least, unless they are more than retain_bytes
  retain_bytes  about how large the log may become, with its indexes
  lock_timeout  how long readers of the log may at most be made to wait
  grace         how long every change of a slot must have been there for all nodes to read before it is dropped
Returns
  outcome        ''idle'': nothing is due. ''busy'': another session is at it, and the rest is null.
                 ''waiting'': changes were committed into the next slot less than grace ago.
                 ''blocked'': a transaction that has written into or read from the next slot is still open
  slot           the slot that is written
  bytes          the size of the log
  oldest         when the oldest change in it was made; null: it is empty
  overdue_since  since when ''waiting'' or ''blocked''
Error 22023 for values that mean nothing, 25001 in another kind of transaction.
Example: select * from jobfeed.rotate(''1 day'', 1000000000) → idle, 2, 123456789, 2026-11-20 08:15:00+00, null';

create or replace function jobfeed.slot_bytes(slot int) returns bigint
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select case when pg_relation_size(relation) = 0 then 0 else pg_total_relation_size(relation) end
    from (select format('jobfeed.change_%s', slot)::regclass as relation) as named
$$;
comment on function jobfeed.slot_bytes(int) is
'The size of a slot of the log with its indexes; 0 exactly if nobody has written into it, committed or not, since it was
emptied.
Example: jobfeed.slot_bytes(1) = 81920';
