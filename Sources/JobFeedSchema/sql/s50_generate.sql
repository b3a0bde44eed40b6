-- What attach leaves on other people's tables, all of it generated from jobfeed.feed: triggers, policies and grants.
-- `jobfeed.generate` puts it there and `jobfeed.remove` takes it away.

create or replace function jobfeed.require_ownership(relation regclass) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    table_owner constant oid := (select relowner from pg_class where oid = relation);
begin
    if not pg_has_role(table_owner, 'USAGE') then
        raise exception 'role "%" may not create triggers and policies on %, which belongs to "%"; a DBA has to run: %',
            current_user, jobfeed.label(relation), table_owner::regrole,
            format('GRANT %s TO %I;', table_owner::regrole, current_user)
            using errcode = 'insufficient_privilege';
    end if;
end
$$;
comment on function jobfeed.require_ownership(regclass) is
'Error 42501, with the statement that helps, unless the current role has the rights of the owner of the table.
Example: select jobfeed.require_ownership(''job'')';

create or replace function jobfeed.open_schema(schema_name text, role_name text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if has_schema_privilege(role_name, schema_name, 'USAGE') then
        return;
    end if;
    if (select not pg_has_role(nspowner, 'USAGE') from pg_namespace where nspname = schema_name)
        and not has_schema_privilege(schema_name, 'USAGE WITH GRANT OPTION')
    then
        raise exception 'role "%" may not open schema "%" to readers; a DBA has to run: %', current_user, schema_name,
            format('GRANT USAGE ON SCHEMA %I TO %I;', schema_name, role_name)
            using errcode = 'insufficient_privilege';
    end if;
    execute format('grant usage on schema %I to %I', schema_name, role_name);
    insert into jobfeed.schema_usage (schema_name, role_name) values (schema_name, role_name) on conflict do nothing;
end
$$;
comment on function jobfeed.open_schema(text, text) is
'Gives a role USAGE on a schema unless it has it, and remembers that, so that detach can take it back.
Error 42501, with the statement that helps, without the right to do so.
Example: select jobfeed.open_schema(''app'', ''jobfeed_account'')';

create or replace function jobfeed.put_policy(relation regclass, policy text, definition text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    execute format('drop policy if exists %I on %s', policy, relation);
    execute format('create policy %I on %s %s', policy, relation, definition);
end
$$;
comment on function jobfeed.put_policy(regclass, text, text) is
'Creates or replaces a policy. Example: select jobfeed.put_policy(''job'', ''all'', ''for select using (true)'')';

create or replace function jobfeed.generate_triggers(of_feed jobfeed.feed) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    link record;
    part record;
    trigger_name text;
begin
    if jobfeed.is_captured_by_statement(of_feed.relation) then
        -- Rows that replication applies fire no statement triggers.
        execute format(
            'create or replace trigger jobfeed_capture after update on %s '
            'referencing old table as old_rows new table as new_rows for each statement execute function %s(%L)',
            of_feed.relation, jobfeed.generate_statement_function(of_feed), of_feed.name);
        execute format('alter table %s enable trigger jobfeed_capture', of_feed.relation);
        execute format(
            'create or replace trigger jobfeed_replica after update on %s '
            'for each row execute function jobfeed.capture(%L, %L, %L)',
            of_feed.relation, of_feed.name, of_feed.key, of_feed.quiet);
        execute format('alter table %s enable replica trigger jobfeed_replica', of_feed.relation);
        execute format(
            'create or replace trigger jobfeed_rows after insert or delete on %s '
            'for each row execute function jobfeed.capture(%L, %L, %L)',
            of_feed.relation, of_feed.name, of_feed.key, of_feed.quiet);
        execute format('alter table %s enable always trigger jobfeed_rows', of_feed.relation);
    else
        execute format('drop trigger if exists jobfeed_replica on %s', of_feed.relation);
        execute format('drop trigger if exists jobfeed_rows on %s', of_feed.relation);
        execute format(
            'create or replace trigger jobfeed_capture after insert or update or delete on %s '
            'for each row execute function jobfeed.capture(%L, %L, %L)',
            of_feed.relation, of_feed.name, of_feed.key, of_feed.quiet);
        -- ALWAYS: changes that replication applies are changes too.
        execute format('alter table %s enable always trigger jobfeed_capture', of_feed.relation);
        execute format('drop function if exists jobfeed.%I()', jobfeed.object_name('capture_of_', of_feed.name));
    end if;
    -- Row triggers are cloned to partitions, statement triggers are not; a partition made later gets one at the next
    -- attach or install.
    for part in
        select of_feed.relation as relation
        union
        select relid from pg_partition_tree(of_feed.relation) join pg_class on oid = relid where relkind in ('r', 'p')
    loop
        execute format(
            'create or replace trigger jobfeed_truncate after truncate on %s '
            'for each statement execute function jobfeed.capture(%L, %L, %L)',
            part.relation, of_feed.name, of_feed.key, of_feed.quiet);
        execute format('alter table %s enable always trigger jobfeed_truncate', part.relation);
    end loop;

    for link in select * from jobfeed.links_of(of_feed) loop
        trigger_name := jobfeed.object_name(format('jobfeed_hop_%s_', link.place), of_feed.name);
        execute format(
            'create or replace trigger %I after update or delete on %s '
            'for each row execute function jobfeed.capture_hop(%L, %L, %L, %L)',
            trigger_name, link.relation, of_feed.name, link.place, link.referenced_columns, link.next_columns);
        execute format('alter table %s enable always trigger %I', link.relation, trigger_name);
    end loop;
end
$$;
comment on function jobfeed.generate_triggers(jobfeed.feed) is
'Creates or replaces the triggers of a feed on its table and along its owner path.
Example: select jobfeed.generate_triggers(f) from jobfeed.feed f where name = ''jobs''';

create or replace function jobfeed.generate_owner_function(of_feed jobfeed.feed) returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    function_name constant text := 'jobfeed.' || quote_ident(jobfeed.object_name('owner_of_', of_feed.name));
    last_hop constant int := jsonb_array_length(of_feed.hops);
    tables text;
    conditions text;
    link_columns constant text[] := jobfeed.names_in(of_feed.hops -> 0 -> 'from');
    argument_types text;
begin
    if of_feed.owner is null then
        return 'null::text';
    end if;
    if last_hop = 0 then
        return quote_ident(of_feed.owner_column) || '::text';
    end if;

    select string_agg(format('%s as hop_%s', relation, place), ', ' order by place),
           string_agg(joined, ' and ' order by place)
    into tables, conditions
    from jobfeed.links_of(of_feed) as link
    cross join lateral (
        select string_agg(case when link.place = 1 then format('hop_1.%I = $%s', to_column, n)
                          else format('hop_%s.%I = hop_%s.%I', link.place, to_column, link.place - 1, from_column) end,
                          ' and ' order by n)
        from unnest(link.link_columns, link.referenced_columns) with ordinality as pair (from_column, to_column, n)
    ) as pairs (joined);

    select string_agg(format_type(atttypid, atttypmod), ', ' order by place) into argument_types
    from unnest(link_columns) with ordinality as l (name, place)
    join pg_attribute on attrelid = of_feed.relation and attname = name;

    execute format('drop function if exists %s', function_name);
    execute format(
        'create function %s(%s) returns text language sql stable security definer '
        'set search_path = pg_catalog, pg_temp as %L',
        function_name, argument_types,
        format('select hop_%s.%I::text from %s where %s', last_hop, of_feed.owner_column, tables, conditions));
    execute format('revoke all on function %s from public', function_name);
    execute format('grant execute on function %s to jobfeed_account, jobfeed_gateway', function_name);
    execute format('comment on function %s is %L', function_name,
        format('The owner of a row of feed %s, found along %s; null without one. Generated by jobfeed.attach.',
            of_feed.name, of_feed.owner));
    return format('%s(%s)', function_name, jobfeed.quoted(link_columns));
end
$$;
comment on function jobfeed.generate_owner_function(jobfeed.feed) is
'Creates or replaces jobfeed.owner_of_FEED, which follows the owner path with the rights of the owner of the tables, so
that accounts need none on them. Returns the expression that finds the owner of a row.
Example: select jobfeed.generate_owner_function(f) from jobfeed.feed f → jobfeed.owner_of_jobs(assigned_to)';

create or replace function jobfeed.claim_sql(claim text) returns text
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
    -- A dot leads into an object, but may also be part of a claim's own name.
    select format('coalesce(nullif(current_setting(''jobfeed.claims'', true), '''')::jsonb -> %1$L, '
                  'nullif(current_setting(''jobfeed.claims'', true), '''')::jsonb #> %2$L)',
                  claim, string_to_array(claim, '.'))
$$;
comment on function jobfeed.claim_sql(text) is
'The SQL expression of a claim of the token, as jsonb; null without it.
Example: jobfeed.claim_sql(''org_id'')';

create or replace function jobfeed.generate_policies(of_feed jobfeed.feed) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    relation constant regclass := of_feed.relation;
    owned text;
    known_roles text;
    link record;
begin
    -- The policies depend on the function, which can be replaced only without them.
    execute format('drop policy if exists jobfeed_account on %s', relation);
    execute format('drop policy if exists jobfeed_account_only on %s', relation);
    owned := format(
        '(select current_setting(''jobfeed.access'', true)) = ''account'' and %s = (select %s)',
        jobfeed.generate_owner_function(of_feed),
        case when of_feed.owner_claim is null then 'nullif(current_setting(''jobfeed.user'', true), '''')'
             -- A dot leads into an object, but may also be part of a claim's name.
             else format('%s #>> ''{}''', jobfeed.claim_sql(of_feed.owner_claim)) end)
        || coalesce((
            -- A list that holds the value, or the value itself.
            select string_agg(format(
                ' and (coalesce((select %2$s = ''[]'' or %2$s ? ''*''), false) or (select %2$s) ? (to_jsonb(%1$I) #>> ''{}''))',
                name, jobfeed.claim_sql(claim)), '' order by name)
            from jsonb_each_text(of_feed.scope) as claims (name, claim)), '');

    perform jobfeed.put_policy(relation, 'jobfeed_account',
        format('for select to jobfeed_account using (%s)', owned));
    -- Policies that others have made for everybody must not widen what an account sees.
    perform jobfeed.put_policy(relation, 'jobfeed_account_only',
        format('as restrictive for select to jobfeed_account using ((select jobfeed.reads_all()) or (%s))', owned));
    perform jobfeed.put_policy(relation, 'jobfeed_operator', 'for select to jobfeed_operator using (true)');
    perform jobfeed.put_policy(relation, 'jobfeed_gateway', 'for select to jobfeed_gateway using (true)');

    if of_feed.row_security_was_off then
        -- Everybody else goes on as if row security were still off.
        perform jobfeed.put_policy(relation, 'jobfeed_others',
            'to public using (not (select jobfeed.is_reader())) with check (not (select jobfeed.is_reader()))');
        -- A policy that is plainly true leaves the planner its freedom: behind any other, a condition whose operator is not
        -- leakproof (equality of enums, LIKE, jsonb) could no longer use an index.
        select string_agg(distinct grantee::regrole::text, ', ') into known_roles
        from (select grantee from pg_class, aclexplode(relacl) where pg_class.oid = relation
              union all
              select grantee from pg_attribute, aclexplode(attacl) where attrelid = relation) as granted
        where grantee not in (0, (select relowner from pg_class where pg_class.oid = relation))
          and grantee::regrole::text not in ('jobfeed_account', 'jobfeed_operator', 'jobfeed_gateway');
        execute format('drop policy if exists jobfeed_known on %s', relation);
        if known_roles is not null then
            perform jobfeed.put_policy(relation, 'jobfeed_known',
                format('to %s using (true) with check (true)', known_roles));
        end if;
        execute format('alter table %s enable row level security', relation);
    end if;

    for link in
        select l.place, l.relation, relforcerowsecurity as forced
        from jobfeed.links_of(of_feed) as l
        join pg_class on pg_class.oid = l.relation
        where relrowsecurity and l.relation <> of_feed.relation
    loop
        perform jobfeed.put_policy(link.relation,
            jobfeed.object_name(format('jobfeed_hop_%s_', link.place), of_feed.name),
            format('for select to jobfeed_gateway%s using (true)',
                -- With FORCE, the owner function would be subject to the policies of the table.
                case when link.forced then ', ' || quote_ident(current_user) else '' end));
    end loop;
end
$$;
comment on function jobfeed.generate_policies(jobfeed.feed) is
'Creates or replaces the row security of a feed: accounts see the rows they own, operators and gateways all of them, and
everybody else what they saw before.
Example: select jobfeed.generate_policies(f) from jobfeed.feed f where name = ''jobs''';

create or replace function jobfeed.generate_grants(of_feed jobfeed.feed) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    visible_columns constant text := (
        select jobfeed.quoted(array_agg(name order by place))
        from unnest(jobfeed.columns_of(of_feed.relation)) with ordinality as c (name, place)
        where name <> all (of_feed.hidden || of_feed.secret)
    );
    operator_columns constant text := (
        select jobfeed.quoted(array_agg(name order by place))
        from unnest(jobfeed.columns_of(of_feed.relation)) with ordinality as c (name, place)
        where name <> all (of_feed.secret)
    );
    role_name text;
    link record;
begin
    foreach role_name in array array['jobfeed_account', 'jobfeed_operator', 'jobfeed_gateway'] loop
        perform jobfeed.open_schema(of_feed.schema_name, role_name);
    end loop;
    -- Revoking the table first also revokes its columns, such as one that has become hidden.
    execute format('revoke select on %s from jobfeed_account, jobfeed_operator', of_feed.relation);
    execute format('grant select (%s) on %s to jobfeed_account', visible_columns, of_feed.relation);
    execute format('grant select%s on %s to jobfeed_operator',
        case when of_feed.secret = '{}' then '' else format(' (%s)', operator_columns) end, of_feed.relation);
    execute format('grant select on %s to jobfeed_gateway', of_feed.relation);

    for link in
        select l.*, nspname::text as schema_name
        from jobfeed.links_of(of_feed) as l
        join pg_class on pg_class.oid = l.relation
        join pg_namespace on pg_namespace.oid = relnamespace
    loop
        perform jobfeed.open_schema(link.schema_name, 'jobfeed_gateway');
        execute format('grant select (%s) on %s to jobfeed_gateway',
            jobfeed.quoted(link.referenced_columns || link.next_columns), link.relation);
    end loop;
end
$$;
comment on function jobfeed.generate_grants(jobfeed.feed) is
'Grants what the three roles need to read a feed: accounts all columns but the hidden ones, operators all
but the secret ones, gateways all,
gateways also the linking columns along the owner path.
Example: select jobfeed.generate_grants(f) from jobfeed.feed f where name = ''jobs''';

create or replace function jobfeed.generate(of_feed jobfeed.feed) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform jobfeed.generate_triggers(of_feed);
    perform jobfeed.generate_policies(of_feed);
    perform jobfeed.generate_grants(of_feed);
end
$$;
comment on function jobfeed.generate(jobfeed.feed) is
'Puts the triggers, policies and grants of a feed on its tables, or renews them.
Example: select jobfeed.generate(f) from jobfeed.feed f';

create or replace function jobfeed.is_capture(trigger_function oid) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select exists (
        select from pg_proc
        where oid = trigger_function and pronamespace = 'jobfeed'::regnamespace
          and (proname in ('capture', 'capture_hop') or starts_with(proname, 'capture_of_')))
$$;
comment on function jobfeed.is_capture(oid) is
'Whether a trigger function is one of those that write the log.
Example: jobfeed.is_capture(''jobfeed.capture''::regproc) = true';

create or replace function jobfeed.marked_relations(feed_name text) returns regclass[]
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select coalesce(array_agg(distinct tgrelid::regclass), '{}')
    from pg_trigger
    where jobfeed.is_capture(tgfoid) and tgparentid = 0
      and split_part(encode(tgargs, 'escape'), '\000', 1) = feed_name
$$;
comment on function jobfeed.marked_relations(text) is
'The tables that carry triggers of a feed, found in the catalogs, because tables may have been renamed since.
Example: jobfeed.marked_relations(''jobs'') = ''{job,thread}''';

create or replace function jobfeed.remove(of_feed jobfeed.feed) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    -- In the order in which gateways lock them, so that neither waits for the other.
    relations constant regclass[] := array(
        select marked from unnest(jobfeed.marked_relations(of_feed.name)) as marked
        left join jobfeed.links_of(of_feed) as link on link.relation = marked
        order by marked <> of_feed.relation, coalesce(place, 0));
    relation regclass;
    relic record;
begin
    foreach relation in array relations loop
        for relic in
            select tgname as name from pg_trigger
            where tgrelid = relation and tgparentid = 0
              and jobfeed.is_capture(tgfoid)
              and split_part(encode(tgargs, 'escape'), '\000', 1) = of_feed.name
        loop
            execute format('drop trigger %I on %s', relic.name, relation);
        end loop;

        for relic in
            select polname as name from pg_policy
            where polrelid = relation
              and (relation = of_feed.relation
                       and polname in ('jobfeed_account', 'jobfeed_account_only', 'jobfeed_operator', 'jobfeed_gateway',
                                       'jobfeed_others', 'jobfeed_known')
                   or polname in (select jobfeed.object_name(format('jobfeed_hop_%s_', place), of_feed.name)
                                  from jobfeed.links_of(of_feed)))
        loop
            execute format('drop policy %I on %s', relic.name, relation);
        end loop;

        execute format('revoke select on %s from jobfeed_gateway', relation);
        if relation = of_feed.relation then
            execute format('revoke select on %s from jobfeed_account, jobfeed_operator', relation);
            if of_feed.row_security_was_off then
                execute format('alter table %s disable row level security', relation);
            end if;
        end if;
    end loop;

    for relic in
        select oid::regprocedure as signature from pg_proc
        where pronamespace = 'jobfeed'::regnamespace
          and proname in (jobfeed.object_name('owner_of_', of_feed.name),
                          jobfeed.object_name('capture_of_', of_feed.name))
    loop
        execute format('drop function %s', relic.signature);
    end loop;
    for relic in select * from jobfeed.schema_usage loop
        if to_regnamespace(quote_ident(relic.schema_name)) is not null then
            execute format('revoke usage on schema %I from %I', relic.schema_name, relic.role_name);
        end if;
        delete from jobfeed.schema_usage
        where schema_name = relic.schema_name and role_name = relic.role_name;
    end loop;
    delete from jobfeed.feed where name = of_feed.name;

    -- Other feeds may share tables and schemas with this one.
    perform jobfeed.generate_grants(other) from jobfeed.feed as other
    where exists (select from pg_class where oid = other.relation);
end
$$;
comment on function jobfeed.remove(jobfeed.feed) is
'Takes the triggers, policies, grants and the definition of a feed away; its log rows stay until retention drops them.
Example: select jobfeed.remove(f) from jobfeed.feed f where name = ''jobs''';
