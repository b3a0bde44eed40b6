-- Guard: refuses early, and says what to do, when this script cannot succeed here.
-- The number is the schema version this script brings; it is repeated as `SchemaScript.version`.

set local client_min_messages = warning;
set local jobfeed.script_version = '4';

do $guard$
declare
    me constant name := current_user;
    mine constant pg_roles := (select r from pg_roles r where r.rolname = current_user);
    script_version constant int := current_setting('jobfeed.script_version');
    installed_version int;
    schema_owner oid := (select nspowner from pg_namespace where nspname = 'jobfeed');
    missing_roles text;
begin
    -- Two installers take turns.
    perform pg_advisory_xact_lock(hashtextextended('jobfeed install', 0));

    if current_setting('server_version_num')::int < 150000 then
        raise exception 'jobfeed needs PostgreSQL 15 or newer; this server is %', current_setting('server_version')
            using errcode = 'feature_not_supported';
    end if;
    if pg_is_in_recovery() then
        raise exception 'jobfeed must be installed on the primary; this server is a standby'
            using errcode = 'read_only_sql_transaction';
    end if;

    select string_agg(format('CREATE ROLE %I NOLOGIN;', wanted), ' ') into missing_roles
    from unnest(array['jobfeed_gateway', 'jobfeed_account', 'jobfeed_operator']) wanted
    where not exists (select from pg_roles where rolname = wanted);
    if missing_roles is not null and not (mine.rolsuper or mine.rolcreaterole) then
        raise exception 'role "%" may not create roles; a DBA has to run: %', me, missing_roles
            using errcode = 'insufficient_privilege';
    end if;

    if schema_owner is null then
        if not has_database_privilege(current_database(), 'CREATE') then
            raise exception 'role "%" may not create the schema jobfeed; a DBA has to run: %', me,
                format('GRANT CREATE ON DATABASE %I TO %I;', current_database(), me)
                using errcode = 'insufficient_privilege';
        end if;
        return;
    end if;

    if not pg_has_role(schema_owner, 'USAGE') then
        raise exception 'schema jobfeed belongs to "%", not to "%"; install as that role, or a DBA has to run: %',
            schema_owner::regrole, me, format('GRANT %s TO %I;', schema_owner::regrole, me)
            using errcode = 'insufficient_privilege';
    end if;
    if to_regclass('jobfeed.installation') is not null then
        execute 'select version from jobfeed.installation' into installed_version;
        if installed_version > script_version then
            raise exception 'this database has jobfeed schema version %, which is newer than version % of this '
                'program; install with the newer program', installed_version, script_version
                using errcode = 'object_not_in_prerequisite_state';
        end if;
    end if;
end
$guard$;
