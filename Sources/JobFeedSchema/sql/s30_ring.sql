-- The doorbell: tells the gateways that the log has grown. What was written is in the log, never in the message.
--
-- NOTIFY makes every commit of the cluster that notifies wait for the disk in one queue, so writers ring only while a
-- gateway sleeps; one that is awake reads without being told.

create or replace function jobfeed.ring_always() returns void
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
    select pg_notify('jobfeed', '')
$$;
comment on function jobfeed.ring_always() is
'Wakes every session that executed LISTEN jobfeed when this transaction commits. For what happens rarely.
Example: select jobfeed.ring_always();';

create or replace function jobfeed.ring() returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Both the order and the fresh snapshot matter: a gateway falls asleep by setting the flag and then reading until
    -- all older transactions have ended. A writer that does not see the flag has logged its change under such a
    -- transaction. REPEATABLE READ and SERIALIZABLE see an old flag.
    if current_setting('transaction_isolation') in ('repeatable read', 'serializable')
        or exists (select from jobfeed.node where asleep)
    then
        perform pg_notify('jobfeed', '');
    end if;
end
$$;
comment on function jobfeed.ring() is
'Wakes the gateways when this transaction commits, unless all of them are awake. The capture functions call it after
they have written their log row, never before. Example: select jobfeed.ring();';
