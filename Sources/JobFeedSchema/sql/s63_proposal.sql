-- Proposal: how a table that nobody has described could be attached, and why.

create or replace function jobfeed.likely_owner(relation regclass, out path text, out why text)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    -- What columns that name a user are called, the likeliest first.
    names constant text[] := '{owner_id,owner,user_id,userid,created_by,createdby,author_id,author,account_id,owner_user_id}';
    link record;
    found_name text;
begin
    select column_name into found_name
    from unnest(names) with ordinality as n (name, place)
    cross join unnest(jobfeed.columns_of(relation)) as column_name
    where lower(column_name) = name order by place limit 1;
    if found then
        path := quote_ident(found_name);
        why := format('"%s" of %s sounds like who a row belongs to', found_name, jobfeed.label(relation));
        return;
    end if;
    for link in
        select from_columns[1] as from_column, target from jobfeed.foreign_keys_of(relation)
        where cardinality(from_columns) = 1 and target <> relation order by from_columns
    loop
        select column_name into found_name
        from unnest(names) with ordinality as n (name, place)
        cross join unnest(jobfeed.columns_of(link.target)) as column_name
        where lower(column_name) = name order by place limit 1;
        if found then
            path := format('%I.%I', link.from_column, found_name);
            why := format('"%s" refers to %s, whose "%s" sounds like who it belongs to',
                link.from_column, jobfeed.label(link.target), found_name);
            return;
        end if;
    end loop;
    why := 'no column, here or one foreign key away, sounds like a user: only operators would see rows';
end
$$;
comment on function jobfeed.likely_owner(regclass) is
'The owner path that the names of columns suggest, and why; null when none does.
Example: select * from jobfeed.likely_owner(''job'') → assigned_to.author, "assigned_to" refers to thread, …';

create or replace function jobfeed.likely_status(relation regclass, out name text, out why text)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select attname, case
        when lower(attname) in ('status', 'state', 'job_status', 'jobstatus') then format('"%s" is called so', attname)
        when typtype = 'e' then format('"%s" is an enum', attname)
        else format('"%s" has a check of what it may be', attname) end
    from pg_attribute
    join pg_type on pg_type.oid = atttypid
    left join lateral (
        select true as is_listed from pg_constraint
        where conrelid = relation and contype = 'c' and conkey = array[attnum] and pg_get_constraintdef(oid) like '%ARRAY[%'
        limit 1) as checked on true
    where attrelid = relation and attnum > 0 and not attisdropped and (typcategory = 'S' or typtype = 'e')
      and (lower(attname) in ('status', 'state', 'job_status', 'jobstatus') or typtype = 'e' or is_listed)
    order by array_position('{status,state,job_status,jobstatus}', lower(attname)), typtype <> 'e', attnum
    limit 1
$$;
comment on function jobfeed.likely_status(regclass) is
'The column that is most likely the status, and why. Example: select * from jobfeed.likely_status(''job'') → status, …';

create or replace function jobfeed.propose(relation regclass)
returns table (setting text, value text, why text)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    columns constant text[] := jobfeed.columns_of(relation);
    key constant text[] := jobfeed.primary_key_of(relation);
    fitting text;
    secret_columns text[];
    quiet_columns text[];
    gauge_columns text[];
    deciding text[];
begin
    if relation is null then
        raise exception 'there is no such table' using errcode = 'undefined_table';
    end if;
    select p.preset into fitting from jobfeed.presets() p
    where not exists (select from jsonb_array_elements_text(definition -> 'needs') as name
                      where jobfeed.column_like(relation, name) is null);
    if found then
        setting := 'preset'; value := fitting;
        why := (select 'it has the columns of ' || title from jobfeed.presets() p where p.preset = fitting);
        return next;
        return;
    end if;

    setting := 'feed';
    value := regexp_replace(regexp_replace(lower(relname), '[^a-z0-9_]', '_', 'g'), '^([^a-z])', 'f\1')
        from pg_class where oid = relation;
    why := 'the name of the table; what clients subscribe to';
    return next;

    setting := 'key';
    value := coalesce(key::text, (
        select array_agg(attname order by place)::text from (
            select indexrelid from pg_index
            where indrelid = relation and indisunique and indisvalid and indimmediate and indpred is null
              and indexprs is null and not exists (
                select from pg_attribute where attrelid = relation and attnum = any (indkey) and not attnotnull)
            order by indnkeyatts, indexrelid limit 1) as smallest
        join pg_index using (indexrelid)
        cross join unnest(indkey) with ordinality as k (number, place)
        join pg_attribute on attrelid = relation and attnum = number where place <= indnkeyatts));
    why := case when key is not null then 'the primary key' when value is not null then 'a unique index, none of it null'
                else 'there is none; create a unique index on columns that are not null' end;
    return next;

    setting := 'status';
    select s.name, s.why into value, why from jobfeed.likely_status(relation) s;
    if value is null then
        why := 'no column is called so, is an enum or has a check of what it may be; name it';
    end if;
    return next;
    deciding := array_remove(coalesce(key, '{}') || value, null);

    setting := 'owner';
    select o.path, o.why into value, why from jobfeed.likely_owner(relation) o;
    return next;
    if value is not null then
        deciding := deciding || parse_ident(value);
    end if;

    select array_agg(name) filter (where name ~* '(secret|token|password|passwd|api_?key|credential|lease_?id)'),
           array_agg(name) filter (where name ~* '^(updated_?at|modified_?at|heartbeat(_?at)?|last_?heartbeat(_?at)?|locked_?(at|until)|lease_?(until|expires_?at)|last_?seen(_?at)?|lock_?version)$'),
           array_agg(name) filter (where name ~* '(progress|percent)')
    into secret_columns, quiet_columns, gauge_columns
    from unnest(columns) as name where name <> all (deciding);
    for setting, value, why in
        values ('secret', secret_columns::text, 'they sound as if nobody should be sent them'),
               ('quiet', quiet_columns::text, 'they change often and say little by themselves'),
               ('gauges', gauge_columns::text, 'of these only the latest value matters')
    loop
        if value is not null then
            return next;
        end if;
    end loop;
end
$$;
comment on function jobfeed.propose(regclass) is
'How a table could be attached, setting by setting, and why: by a preset that fits, or by what the catalogs and the names
of columns suggest. It changes nothing, and is to be read before it is followed.
  relation  the table
Example: select * from jobfeed.propose(''job'')';
