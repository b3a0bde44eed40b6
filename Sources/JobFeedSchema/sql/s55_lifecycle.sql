-- Lifecycle: what the columns of a job mean in words that all job systems share.

create or replace function jobfeed.column_like(relation regclass, wanted text) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select coalesce(
        (select name from unnest(jobfeed.columns_of(relation)) as name where name = wanted),
        (select min(name) from unnest(jobfeed.columns_of(relation)) as name
         where lower(name) = lower(wanted) having count(*) = 1))
$$;
comment on function jobfeed.column_like(regclass, text) is
'The column of that name, or else the only one that differs by case alone; null without one.
Example: jobfeed.column_like(''jobs'', ''maxAttempts'') = ''maxattempts''';

create or replace function jobfeed.lifecycle_columns(lifecycle jsonb) returns text[]
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
    select array_remove(array[lifecycle #>> '{attempts,failed}', lifecycle #>> '{attempts,limit}'], null)
        || coalesce(array_agg(name) filter (where name is not null), '{}')
    from (values (lifecycle -> 'next_attempt'), (lifecycle -> 'stalled')) as moments (moment)
    cross join lateral (
        select moment ->> 'delay'
        union all
        select jsonb_array_elements_text(moment -> 'at') where jsonb_typeof(moment -> 'at') = 'array'
    ) as named (name)
$$;
comment on function jobfeed.lifecycle_columns(jsonb) is
'The columns, besides the status, that a lifecycle reads.
Example: jobfeed.lifecycle_columns(''{"next_attempt": {"at": ["run_at"]}}'') = ''{run_at}''';

create or replace function jobfeed.check_lifecycle(relation regclass, status text, lifecycle jsonb, quiet text[]) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    states constant text[] := '{scheduled,pending,running,succeeded,failed,dead,cancelled}';
    parts constant text[] := '{states,attempts,next_attempt,stalled}';
    -- A timestamp is one whatever domain it is of.
    not_times constant text[] := array(
        select attname from pg_attribute join pg_type on pg_type.oid = atttypid
        where attrelid = relation and attnum > 0 and not attisdropped and typcategory <> 'D');
    wrong text;
    part text;
begin
    if lifecycle is null then
        return;
    end if;
    if jsonb_typeof(lifecycle) <> 'object' or jsonb_typeof(lifecycle -> 'states') is distinct from 'object' then
        raise exception 'a lifecycle is an object such as {"states": {"done": "succeeded"}}; it is %', lifecycle
            using errcode = 'invalid_parameter_value';
    end if;
    select name into wrong from jsonb_object_keys(lifecycle) as name where name <> all (parts);
    if found then
        raise exception 'a lifecycle has no "%"; %', wrong, jobfeed.suggestion(wrong, parts, 'parts')
            using errcode = 'invalid_parameter_value';
    end if;
    select value into wrong from jsonb_each_text(lifecycle -> 'states') where value is null or value <> all (states);
    if found then
        raise exception '"%" is no state; %', wrong, jobfeed.suggestion(coalesce(wrong, ''), states, 'states')
            using errcode = 'invalid_parameter_value';
    end if;

    if lifecycle ? 'attempts' and not coalesce(
        lifecycle #>> '{attempts,failed}' is not null and lifecycle #>> '{attempts,limit}' is not null
        and lifecycle #>> '{attempts,counts}' in ('attempts', 'retries')
        and coalesce(lifecycle #>> '{attempts,by}' = 'hand', true), false)
    then
        raise exception 'the attempts of a lifecycle are {"failed": column, "limit": column, "counts": "attempts" or '
            '"retries"}, optionally with "by": "hand", not %', lifecycle -> 'attempts'
            using errcode = 'invalid_parameter_value';
    end if;
    foreach part in array '{next_attempt,stalled}'::text[] loop
        continue when not lifecycle ? part;
        if jsonb_typeof(lifecycle #> array[part, 'at']) is distinct from 'array'
            or lifecycle #> array[part, 'at'] = '[]'
            or (lifecycle #>> array[part, 'delay'] is null) <> (lifecycle #>> array[part, 'unit'] is null)
            or lifecycle #>> array[part, 'unit'] not in ('ms', 's')
        then
            raise exception '"%" of a lifecycle is {"at": [columns]}, optionally with "delay": column and "unit": "ms" or '
                '"s", not %', part, lifecycle -> part
                using errcode = 'invalid_parameter_value';
        end if;
        select name into wrong from jsonb_array_elements_text(lifecycle #> array[part, 'at']) as name
        where name = any (not_times);
        if found then
            raise exception 'column "%" of % is no time, so "%" cannot be taken from it', wrong, jobfeed.label(relation), part
                using errcode = 'invalid_parameter_value';
        end if;
    end loop;
    perform jobfeed.require_columns(relation, jobfeed.lifecycle_columns(lifecycle));
    -- What follows from a column that is not followed would be wrong.
    perform jobfeed.refuse_overlap(relation, jobfeed.lifecycle_columns(lifecycle), 'part of a lifecycle', quiet, 'quiet');
end
$$;
comment on function jobfeed.check_lifecycle(regclass, text, jsonb, text[]) is
'Error 22023 or 42703 unless the lifecycle is well formed and fits the table; see jobfeed.attach.
Example: select jobfeed.check_lifecycle(''job'', ''status'', ''{"states": {"done": "succeeded"}}'', ''{}'')';
