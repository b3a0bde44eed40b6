-- Statement capture: one INSERT logs what an UPDATE has done to any number of rows.
--
-- The function is generated for the columns of the table as they are. It asks in each statement whether they still are,
-- and goes by names, as jobfeed.capture does, when they are not: a writer must never fail because a table was altered.

create or replace function jobfeed.shape_of(relation oid) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
    if not exists (select from pg_class where oid = relation) then
        return null;
    end if;
    -- It reads the columns and their types as they are now; a query of pg_attribute would see them as of the
    -- transaction's snapshot. It also names the database, which may be a copy.
    return md5(replace(
        substring(table_to_xmlschema(relation, true, false, '')::text from '<xsd:sequence>.*</xsd:sequence>'),
        '.' || current_database() || '.', '.'));
end
$$;
comment on function jobfeed.shape_of(oid) is
'Another text when a column of the table is added, dropped or renamed, or has another type; null without the table.
Example: jobfeed.shape_of(''job''::regclass) = ''0cc175b9c0f1b6a831c399e269772661''';

create or replace function jobfeed.has_shape(relation oid, shape text) returns boolean
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select coalesce(jobfeed.shape_of(relation) = shape, false)
$$;
comment on function jobfeed.has_shape(oid, text) is
'Whether the table still looks so. Declared immutable, which it is not, so that a plan holds the answer as a constant:
ask only in queries that read the table or its transition tables, whose plans are made anew when the table is altered.
Example: jobfeed.has_shape(''job''::regclass, jobfeed.shape_of(''job''::regclass)) = true';

create or replace function jobfeed.without_large(row_json jsonb, changed jsonb) returns jsonb
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
    -- JSON text is at most six times as long as its binary form, so small values need not be written out.
    select row_json - coalesce(array_agg(name), '{}')
    from jsonb_each(row_json) as columns (name, value)
    where pg_column_size(value) > 300 and octet_length(value::text) > 2000 and not changed ? name
$$;
comment on function jobfeed.without_large(jsonb, jsonb) is
'A row without the values that are longer than 2,000 bytes as JSON, except those of changed columns.
Example: jobfeed.without_large(''{"id": 1}'', ''{}'') = ''{"id": 1}''';

create or replace function jobfeed.pin_settings(inout settings text[] default null)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    names constant text[] := '{TimeZone,DateStyle,IntervalStyle,bytea_output,extra_float_digits}';
    wanted constant text[] := coalesce(settings, '{UTC,"ISO, YMD",postgres,hex,1}');
begin
    settings := array(select current_setting(name) from unnest(names) as name);
    for i in 1 .. cardinality(names) loop
        perform set_config(names[i], wanted[i], true);
    end loop;
end
$$;
comment on function jobfeed.pin_settings(text[]) is
'Sets what the JSON form of a value depends on, and returns how it was, to be set again by a second call.
Example: select jobfeed.pin_settings(jobfeed.pin_settings())';

create or replace function jobfeed.is_overtaken(
    relation regclass, key text[], row_json jsonb, is_deleted boolean default false
) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    found_row jsonb;
    condition constant text := (
        select string_agg(format('t.%I = ($1 ->> %L)::%s', attname, attname, format_type(atttypid, atttypmod)), ' and ')
        from pg_attribute where attrelid = relation and attname = any (key) and not attisdropped);
begin
    execute format('select to_jsonb(t.*) from %s as t where %s', relation, condition) into found_row using row_json;
    return case when is_deleted then found_row is not null else found_row is distinct from row_json end;
exception when others then
    return true;
end
$$;
comment on function jobfeed.is_overtaken(regclass, text[], jsonb, boolean) is
'Whether a row that was just written looks different by now, because a trigger went on to write it.
Example: jobfeed.is_overtaken(''job'', ''{id}'', ''{"id": 7, "status": "new"}'') = true';

create or replace function jobfeed.reset_feed(feed_name text) returns void
language sql
set search_path = pg_catalog, pg_temp
as $$
    insert into jobfeed.change (feed, op)
    select feed_name, 'T'
    where not exists (select from jobfeed.change
                      where xid = pg_current_xact_id() and feed = feed_name and op = 'T')
$$;
comment on function jobfeed.reset_feed(text) is
'Has the gateways read the rows of a feed anew, once per transaction, as after TRUNCATE.
Example: select jobfeed.reset_feed(''jobs'')';

create or replace function jobfeed.note_depth() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if pg_trigger_depth() > coalesce(nullif(current_setting('jobfeed.depth', true), ''), '1')::int then
        perform set_config('jobfeed.depth', pg_trigger_depth()::text, true);
    end if;
end
$$;
comment on function jobfeed.note_depth() is
'Remembers until the end of the transaction how deep in triggers a change was logged. A statement whose triggers have
changed rows of the feed is itself logged after them, although it came first: whoever logs a change and finds that
deeper ones were logged has to look whether its row is still the same.
Example: select jobfeed.note_depth()';

create or replace function jobfeed.key_sql(alias text, relation regclass, key text[]) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    -- One key column is logged as it is, several are escaped: see jobfeed.key_text.
    select string_agg(
        case when cardinality(key) = 1 then part else format('replace(replace(%s, ''%%'', ''%%25''), '','', ''%%2C'')', part) end,
        ' || '','' || ' order by place)
    from unnest(key) with ordinality as k (name, place)
    join pg_attribute on attrelid = relation and attname = name
    cross join lateral (
        -- Types whose text is what JSON has; of the others it is asked.
        select case when atttypid = any ('{int2,int4,int8,text,varchar,uuid}'::regtype[])
                    then format('%s.%I::text collate "C"', alias, name)
                    else format('(to_jsonb(%s.%I) #>> ''{}'') collate "C"', alias, name) end as part
    ) as parts
$$;
comment on function jobfeed.key_sql(text, regclass, text[]) is
'The SQL expression of the key of a row as it is logged.
Example: jobfeed.key_sql(''n'', ''job'', ''{id}'') = ''n.id::text collate "C"''';

create or replace function jobfeed.before_sql(relation regclass) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select string_agg(
        case when has_equality then format('case when o.%1$I is distinct from n.%1$I then jsonb_build_object(%1$L, o.%1$I) '
                                           'else ''{}'' end', attname)
             else format('case when to_jsonb(o.%1$I) is distinct from to_jsonb(n.%1$I) then jsonb_build_object(%1$L, o.%1$I) '
                         'else ''{}'' end', attname) end,
        E'\n            || ' order by attnum)
    from pg_attribute
    join pg_type on pg_type.oid = atttypid
    left join pg_collation on pg_collation.oid = attcollation
    cross join lateral (
        -- Values of these types are equal exactly when their JSON is.
        select coalesce(nullif(typbasetype, 0), atttypid) = any (
            '{bool,int2,int4,int8,numeric,text,varchar,uuid,date,timestamp,timestamptz,jsonb,bytea}'::regtype[])
            and coalesce(collisdeterministic, true)
            or typtype = 'e' as has_equality
    ) as compared
    where attrelid = relation and attnum > 0 and not attisdropped
$$;
comment on function jobfeed.before_sql(regclass) is
'The SQL expression of the old values of the columns that differ between two rows o and n of a table.
Example: jobfeed.before_sql(''job'')';

create or replace function jobfeed.small_row_bytes(relation regclass) returns int
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    -- A value longer than 2,000 bytes as JSON takes more than 330 as jsonb; the rest of a row is at least its names.
    select (330 + 4 + sum(octet_length(attname::text) + 8))::int
    from pg_attribute
    where attrelid = relation and attnum > 0 and not attisdropped
$$;
comment on function jobfeed.small_row_bytes(regclass) is
'Up to which size as jsonb a row certainly has no value that jobfeed.without_large would leave out.
Example: jobfeed.small_row_bytes(''job'') = 580';

create or replace function jobfeed.generate_statement_function(of_feed jobfeed.feed) returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    function_name constant text := 'jobfeed.' || quote_ident(jobfeed.object_name('capture_of_', of_feed.name));
begin
    execute format('create or replace function %s() returns trigger language plpgsql security definer '
        'set search_path = pg_catalog, pg_temp as %L', function_name, format($function$
#variable_conflict use_variable
-- o.* and n.*, because a column may have the name of its table's alias.
declare
    known record;
    settings text[];
    is_simple boolean;
    rings boolean;
begin
    -- What most writers do, in few statements, because each transaction prepares every expression anew.
    select count(*) = 1 and jobfeed.has_shape(%1$s, %2$L)
        and current_setting('TimeZone') in ('UTC', 'Etc/UTC', 'GMT') and starts_with(current_setting('DateStyle'), 'ISO')
        and current_setting('IntervalStyle') = 'postgres' and current_setting('bytea_output') = 'hex'
        and current_setting('extra_float_digits')::int > 0
        and current_setting('transaction_isolation') in ('read committed', 'read uncommitted')
        and pg_trigger_depth() = 1 and coalesce(current_setting('jobfeed.depth', true), '') = ''
    into is_simple from new_rows;
    if is_simple then
        -- The writer has its transaction id, so the flag may be read by the statement that logs: see jobfeed.ring.
        insert into jobfeed.change (feed, op, key, row, before)
        select %3$L, 'U', c.key,
            case when pg_column_size(c.row) > %4$s then jobfeed.without_large(c.row, c.before) else c.row end, c.before
        from (select %5$s as key, to_jsonb(n.*) as row,
            %6$s as before
            from old_rows as o, new_rows as n where %7$s = %5$s offset 0) as c
        where c.before - %8$L::text[] <> '{}'
        returning exists (select from jobfeed.node where asleep) into rings;
        if rings then
            perform pg_notify('jobfeed', '');
        elsif rings is null then
            if exists (select from old_rows as o, new_rows as n where %7$s is distinct from %5$s) then
                is_simple := false;
            end if;
        end if;
        if is_simple then
            return null;
        end if;
    end if;

    select (select count(*) from new_rows) as rows, jobfeed.has_shape(%1$s, %2$L) as has_shape into known;
    if known.rows = 0 then
        return null;
    end if;
    if not (current_setting('TimeZone') in ('UTC', 'Etc/UTC', 'GMT')
            and starts_with(current_setting('DateStyle'), 'ISO')
            and current_setting('IntervalStyle') = 'postgres'
            and current_setting('bytea_output') = 'hex'
            and current_setting('extra_float_digits')::int > 0)
    then
        settings := jobfeed.pin_settings();
    end if;

    if known.has_shape then
        -- Only merge and hash joins can be full: the plan is good for any number of rows.
        insert into jobfeed.change (feed, op, key, row, before)
        select %3$L, c.op, c.key,
            case when c.op = 'U' and pg_column_size(c.row) > %4$s then jobfeed.without_large(c.row, c.before)
                 else c.row end, c.before
        from (select (case when %7$s is null then 'I' when %5$s is null then 'D' else 'U' end)::"char" as op,
            coalesce(%5$s, %7$s) as key,
            case when %5$s is null then to_jsonb(o.*) else to_jsonb(n.*) end as row,
            case when %5$s is not null and %7$s is not null then
            %6$s end as before
            from old_rows as o full join new_rows as n on %7$s = %5$s offset 0) as c
        where c.op <> 'U' or c.before - %8$L::text[] <> '{}';
        if found then
            rings := exists (select from jobfeed.node where asleep);
            -- WITH and MERGE can move a row away and insert another under its key, which is logged first.
            if exists (select from old_rows as o full join new_rows as n on %7$s = %5$s
                       where %5$s is null and jobfeed.is_overtaken(tg_relid, %9$L, to_jsonb(o.*), true))
            then
                perform jobfeed.reset_feed(%3$L);
            end if;
        end if;
    else
        insert into jobfeed.change (feed, op, key, row, before)
        select %3$L, c.op, c.key, case when c.op = 'U' then jobfeed.without_large(c.row, c.before) else c.row end, c.before
        from (select (case when o.row is null then 'I' when n.row is null then 'D' else 'U' end)::"char" as op,
            jobfeed.key_text(coalesce(n.row, o.row), %9$L) as key, coalesce(n.row, o.row) as row,
            case when o.row is not null and n.row is not null then (
                select coalesce(jsonb_object_agg(name, value), '{}') from jsonb_each(o.row) as columns (name, value)
                where value is distinct from n.row -> name) end as before
            from (select to_jsonb(o.*) as row, coalesce(jobfeed.key_text(to_jsonb(o.*), %9$L), 'row ' || row_number() over ())
                  collate "C" as key from old_rows as o) as o
            full join (select to_jsonb(n.*) as row, coalesce(jobfeed.key_text(to_jsonb(n.*), %9$L), 'row ' || row_number() over ())
                  collate "C" as key from new_rows as n) as n using (key) offset 0) as c
        where c.op <> 'U' or c.before - %8$L::text[] <> '{}';
        if found then
            rings := exists (select from jobfeed.node where asleep);
            if exists (
                select from (select to_jsonb(o.*) as row, jobfeed.key_text(to_jsonb(o.*), %9$L) collate "C" as key
                             from old_rows as o) as o
                full join (select jobfeed.key_text(to_jsonb(n.*), %9$L) collate "C" as key from new_rows as n) as n
                    on o.key = n.key
                where n.key is null and o.key is not null and jobfeed.is_overtaken(tg_relid, %9$L, o.row, true))
            then
                perform jobfeed.reset_feed(%3$L);
            end if;
        end if;
    end if;

    if rings is not null then
        if rings or current_setting('transaction_isolation') in ('repeatable read', 'serializable') then
            perform pg_notify('jobfeed', '');
        end if;
        if pg_trigger_depth() > 1 then
            perform jobfeed.note_depth();
        end if;
        if nullif(current_setting('jobfeed.depth', true), '')::int > pg_trigger_depth() then
            -- A trigger of this statement may have gone on to write its rows, and that was logged before this.
            if exists (select from new_rows as n where jobfeed.is_overtaken(tg_relid, %9$L, to_jsonb(n.*))) then
                perform jobfeed.reset_feed(%3$L);
            end if;
        end if;
    end if;
    if settings is not null then
        perform jobfeed.pin_settings(settings);
    end if;
    return null;
end
$function$,
            of_feed.relation::oid, jobfeed.shape_of(of_feed.relation), of_feed.name,
            jobfeed.small_row_bytes(of_feed.relation), jobfeed.key_sql('n', of_feed.relation, of_feed.key),
            jobfeed.before_sql(of_feed.relation), jobfeed.key_sql('o', of_feed.relation, of_feed.key),
            of_feed.quiet, of_feed.key));
    execute format('revoke all on function %s() from public', function_name);
    execute format('comment on function %s() is %L', function_name,
        format('Trigger of the table of feed %s: logs what an UPDATE did to its rows. Generated by jobfeed.attach.',
            of_feed.name));
    return function_name;
end
$$;
comment on function jobfeed.generate_statement_function(jobfeed.feed) is
'Creates or replaces jobfeed.capture_of_FEED, the trigger function that logs UPDATEs by the statement, and returns its
name. An UPDATE that changes nothing, or quiet columns only, is not logged; one that changes keys is logged as what it
did to each key.
Example: select jobfeed.generate_statement_function(f) from jobfeed.feed f → jobfeed.capture_of_jobs';

create or replace function jobfeed.is_captured_by_statement(relation regclass) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select relkind = 'r'
       -- Their triggers may write the same rows again, and that would be logged first.
       and not exists (
           select from pg_trigger
           where tgrelid = relation and not tgisinternal and tgtype & 66 = 0 and not starts_with(tgname, 'jobfeed_'))
       and not exists (
           select from pg_constraint
           where conrelid = relation and confrelid = relation and confupdtype in ('c', 'n', 'd'))
    from pg_class
    where oid = relation
$$;
comment on function jobfeed.is_captured_by_statement(regclass) is
'Whether UPDATEs of a table are logged by the statement: it is not partitioned, and no other trigger fires after them.
Example: jobfeed.is_captured_by_statement(''job'') = true';
