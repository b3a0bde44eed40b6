-- Readers: whom the generated policies are about. Everyone else must not notice that row security is on.
--
-- Policies ask these functions as whoever reads the table, who may lack USAGE on this schema, so neither calls the
-- other.

create or replace function jobfeed.reads_all() returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select pg_has_role('jobfeed_operator', 'USAGE') or pg_has_role('jobfeed_gateway', 'USAGE')
$$;
comment on function jobfeed.reads_all() is
'Whether the current role is an operator or a gateway, which read every row.
Example: using ((select jobfeed.reads_all()) or …)';

create or replace function jobfeed.is_reader() returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select not (rolsuper or rolbypassrls)
       and (pg_has_role('jobfeed_account', 'USAGE')
            or pg_has_role('jobfeed_operator', 'USAGE')
            or pg_has_role('jobfeed_gateway', 'USAGE'))
    from pg_roles
    where rolname = current_user
$$;
comment on function jobfeed.is_reader() is
'Whether the current role is an account, an operator or a gateway. Superusers, though members of everything, are not.
Example: using (not (select jobfeed.is_reader()))';
