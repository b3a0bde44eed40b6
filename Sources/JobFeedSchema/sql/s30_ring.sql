-- The doorbell: tells the gateways that the log has grown. What was written is in the log, never in the message.

create or replace function jobfeed.ring() returns void
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
    select pg_notify('jobfeed', '')
$$;
comment on function jobfeed.ring() is
'Wakes every session that executed LISTEN jobfeed when this transaction commits. The capture functions call it
after they have written their log row. Example: select jobfeed.ring();';
