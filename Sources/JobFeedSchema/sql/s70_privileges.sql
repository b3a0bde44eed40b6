-- Least privilege: what the runtime roles may do inside the schema jobfeed, and nobody else anything.

revoke all on all functions in schema jobfeed from public;
revoke all on all tables in schema jobfeed from public, jobfeed_gateway, jobfeed_account, jobfeed_operator;
revoke all on all sequences in schema jobfeed from public, jobfeed_gateway, jobfeed_account, jobfeed_operator;
revoke all on schema jobfeed from public;

grant usage on schema jobfeed to jobfeed_gateway;
grant select on jobfeed.installation, jobfeed.feed, jobfeed.change, jobfeed.horizon, jobfeed.log_slot,
    jobfeed.revocation
to jobfeed_gateway;
grant select, insert, update, delete on jobfeed.node to jobfeed_gateway;
grant execute on function jobfeed.epoch(), jobfeed.begin_incarnation() to jobfeed_gateway;
grant execute on function jobfeed.key_text(jsonb, text[]) to jobfeed_gateway;
grant execute on function jobfeed.rotate(interval, bigint, interval, interval) to jobfeed_gateway;

-- The generated policies ask these two on behalf of whoever reads the table.
grant execute on function jobfeed.is_reader(), jobfeed.reads_all() to public;
