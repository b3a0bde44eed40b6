-- Roles: nobody logs in as these; login roles are made members of them.
--   jobfeed_gateway   the runtime of a gateway: reads feeds and their log, writes nothing but its own node row
--   jobfeed_account   a user, who sees the rows of which the owner path says that they are his
--   jobfeed_operator  sees every row

do $roles$
declare
    wanted name;
begin
    foreach wanted in array array['jobfeed_gateway', 'jobfeed_account', 'jobfeed_operator'] loop
        if not exists (select from pg_roles where rolname = wanted) then
            execute format('create role %I nologin', wanted);
        end if;
    end loop;
end
$roles$;
