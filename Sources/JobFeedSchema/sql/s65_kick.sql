-- Kick: sessions are ended on every gateway, and their tokens are worth nothing any more.

create or replace function jobfeed.kick(
    user_name text default null,
    token_id text default null,
    lasts interval default '1 day'
) returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
declare
    revoked constant timestamptz := clock_timestamp();
    fresh bigint;
begin
    if num_nonnulls(nullif(user_name, ''), nullif(token_id, '')) <> 1 or num_nonnulls(user_name, token_id) <> 1 then
        raise exception 'jobfeed.kick needs either a user or a token, by a name that is not empty; run: '
            'select jobfeed.kick(user_name => ...) or select jobfeed.kick(token_id => ...)'
            using errcode = 'invalid_parameter_value';
    end if;
    if lasts is null or revoked + lasts <= revoked then
        raise exception 'jobfeed.kick must last longer than nothing, such as 1 day; lasts is %',
            coalesce(lasts::text, 'null')
            using errcode = 'invalid_parameter_value';
    end if;
    delete from jobfeed.revocation r where r.expires_at <= revoked;
    insert into jobfeed.revocation as r (user_name, token_id, revoked_at, expires_at)
    values (user_name, token_id, revoked, revoked + lasts)
    returning r.id into fresh;
    perform jobfeed.ring_always();
    return fresh;
end
$$;
comment on function jobfeed.kick(text, text, interval) is
'Ends the sessions of a user, or of one token, on every gateway (close code 4504) and refuses their tokens for a while.
  user_name  the user: tokens that were issued before now are refused
  token_id   the claim jti of one token, instead of a user
  lasts      how long they are refused: as long as tokens live
Returns the id of the row in jobfeed.revocation. Error 22023 unless there is exactly one of user and token.
Example: select jobfeed.kick(user_name => ''alice'') → 1';
