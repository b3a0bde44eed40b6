-- Capture: the trigger functions that write the log, in the writer's own transaction and under the writer's row lock.
--
-- They know columns by name only and reach them through to_jsonb, so that a column that is added, renamed or dropped
-- later never makes a writer fail. They run as the owner of the log, so that no writer needs a privilege on it, and
-- with every setting pinned on which the JSON form of a value depends, so that two writers log the same value alike:
-- by the function itself, because SET clauses cost 10 µs also where there is nothing to change.

create or replace function jobfeed.capture() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    feed_name constant text := tg_argv[0];
    key_columns constant text[] := tg_argv[1];
    quiet_columns constant text[] := tg_argv[2];
    settings text[];
    row_before jsonb;
    row_after jsonb;
    key_before text;
    key_after text;
    changed jsonb;
    left_out text[];
begin
    if tg_op = 'UPDATE' and old *= new then
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

    <<logging>>
    begin
        case tg_op
        when 'UPDATE' then
            row_before := to_jsonb(old);
            row_after := to_jsonb(new);

            -- JSON text is at most six times as long as its binary form, so small values need not be written out.
            select jsonb_object_agg(name, value) filter (where differs),
                   array_agg(name) filter (
                       where not differs and pg_column_size(value) > 300 and octet_length(value::text) > 2000)
            into changed, left_out
            from (select name, value, value is distinct from row_after -> name as differs
                  from jsonb_each(row_before) as columns (name, value)) as compared;

            if changed is null or changed - quiet_columns = '{}' then
                exit logging;
            end if;

            if cardinality(key_columns) = 1 then
                key_before := row_before ->> key_columns[1];
                key_after := row_after ->> key_columns[1];
            else
                key_before := jobfeed.key_text(row_before, key_columns);
                key_after := jobfeed.key_text(row_after, key_columns);
            end if;

            if key_before is distinct from key_after then
                insert into jobfeed.change (feed, op, key, row) values (feed_name, 'D', key_before, row_before);
                insert into jobfeed.change (feed, op, key, row) values (feed_name, 'I', key_after, row_after);
            else
                insert into jobfeed.change (feed, op, key, row, before)
                values (feed_name, 'U', key_after,
                    case when left_out is null then row_after else row_after - left_out end, changed);
            end if;
        when 'INSERT' then
            row_after := to_jsonb(new);
            key_after := case when cardinality(key_columns) = 1 then row_after ->> key_columns[1]
                              else jobfeed.key_text(row_after, key_columns) end;
            insert into jobfeed.change (feed, op, key, row) values (feed_name, 'I', key_after, row_after);
        when 'DELETE' then
            row_before := to_jsonb(old);
            key_before := case when cardinality(key_columns) = 1 then row_before ->> key_columns[1]
                               else jobfeed.key_text(row_before, key_columns) end;
            insert into jobfeed.change (feed, op, key, row) values (feed_name, 'D', key_before, row_before);
        when 'TRUNCATE' then
            -- A partitioned table says so for itself and for each of its partitions.
            perform jobfeed.reset_feed(feed_name);
        end case;

        perform jobfeed.ring();
        if pg_trigger_depth() > 1 then
            perform jobfeed.note_depth();
        end if;
        if nullif(current_setting('jobfeed.depth', true), '')::int > pg_trigger_depth() and tg_op <> 'TRUNCATE' then
            -- A trigger of this statement may have gone on to write its rows, and that was logged before this.
            if jobfeed.is_overtaken(tg_relid, key_columns, coalesce(row_after, row_before), tg_op = 'DELETE') then
                perform jobfeed.reset_feed(feed_name);
            end if;
        end if;
    end logging;

    if settings is not null then
        perform jobfeed.pin_settings(settings);
    end if;
    return null;
end
$$;
comment on function jobfeed.capture() is
'Trigger of an attached table: logs INSERT, UPDATE, DELETE (each row) and TRUNCATE (statement). An UPDATE that changes
nothing, or quiet columns only, is not logged; one that changes the key is logged as D of the old and I of the new key.
  argument 0  feed
  argument 1  key columns, a text[] literal
  argument 2  quiet columns, a text[] literal
Example: create trigger … for each row execute function jobfeed.capture(''jobs'', ''{id}'', ''{updated_at}'')';

create or replace function jobfeed.capture_hop() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
-- Owner paths change rarely.
set timezone = 'UTC'
set datestyle = 'ISO, YMD'
set intervalstyle = 'postgres'
set bytea_output = 'hex'
set extra_float_digits = 1
as $$
declare
    referenced_columns constant text[] := tg_argv[2];
    linking_columns constant text[] := referenced_columns || tg_argv[3]::text[];
    row_before jsonb;
    link_before jsonb;
    link_after jsonb;
begin
    if tg_op = 'UPDATE' then
        if old *= new then
            return null;
        end if;
        link_after := jobfeed.part_of(to_jsonb(new), linking_columns);
    end if;
    row_before := to_jsonb(old);
    link_before := jobfeed.part_of(row_before, linking_columns);
    if link_before = link_after then
        return null;
    end if;

    insert into jobfeed.change (feed, op, key, hop, row, before)
    values (tg_argv[0], 'S', jobfeed.key_text(row_before, referenced_columns), tg_argv[1]::smallint,
        link_after, link_before);
    perform jobfeed.ring();
    return null;
end
$$;
comment on function jobfeed.capture_hop() is
'Trigger of a table on the owner path of a feed: logs an S row for each UPDATE of the columns through which the path
leads, and for each DELETE.
  argument 0  feed
  argument 1  position of the table on the path, 1 is the nearest
  argument 2  the columns that are referred to, a text[] literal
  argument 3  the columns that lead on (or name the owner, on the last table), a text[] literal
Example: create trigger … for each row execute function jobfeed.capture_hop(''jobs'', ''1'', ''{id}'', ''{author}'')';

create or replace function jobfeed.part_of(row_json jsonb, names text[]) returns jsonb
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
    select coalesce(jsonb_object_agg(name, row_json -> name), '{}') from unnest(names) as name
$$;
comment on function jobfeed.part_of(jsonb, text[]) is
'The named members of an object; null for those it lacks.
Example: jobfeed.part_of(''{"a": 1, "b": 2}'', ''{a}'') = ''{"a": 1}''';
