-- The catalogs, asked the questions that attach has.

create or replace function jobfeed.label(relation regclass) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select case when nspname = 'public' then quote_ident(relname)
           else quote_ident(nspname) || '.' || quote_ident(relname) end
    from pg_class
    join pg_namespace on pg_namespace.oid = relnamespace
    where pg_class.oid = relation
$$;
comment on function jobfeed.label(regclass) is
'A table as messages name it: with its schema unless that is public. Example: jobfeed.label(''public.job'') = ''job''';

create or replace function jobfeed.columns_of(relation regclass) returns text[]
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select coalesce(array_agg(attname::text order by attnum), '{}')
    from pg_attribute
    where attrelid = relation and attnum > 0 and not attisdropped
$$;
comment on function jobfeed.columns_of(regclass) is
'The columns of a table in their order. Example: jobfeed.columns_of(''job'') = ''{id,status}''';

create or replace function jobfeed.quoted(names text[]) returns text
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
    select string_agg(quote_ident(name), ', ' order by place) from unnest(names) with ordinality as n (name, place)
$$;
comment on function jobfeed.quoted(text[]) is
'Names as an SQL list. Example: jobfeed.quoted(''{id,Weird Name}'') = ''id, "Weird Name"''';

create or replace function jobfeed.object_name(prefix text, feed text) returns text
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
    select case when octet_length(prefix || feed) <= 63 then prefix || feed
           else left(prefix || feed, 54) || '_' || left(md5(feed), 8) end
$$;
comment on function jobfeed.object_name(text, text) is
'The name of an object made for a feed, unique within the 63 bytes that Postgres keeps.
Example: jobfeed.object_name(''owner_of_'', ''jobs'') = ''owner_of_jobs''';

create or replace function jobfeed.require_columns(relation regclass, names text[]) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    existing constant text[] := jobfeed.columns_of(relation);
    wanted text;
begin
    foreach wanted in array names loop
        if wanted is null or wanted <> all (existing) then
            raise exception '% has no column "%"; %', jobfeed.label(relation), wanted,
                jobfeed.suggestion(coalesce(wanted, ''), existing, 'columns')
                using errcode = 'undefined_column';
        end if;
    end loop;
end
$$;
comment on function jobfeed.require_columns(regclass, text[]) is
'Error 42703, with the nearest right name, unless the table has all these columns.
Example: select jobfeed.require_columns(''job'', ''{stat}''): job has no column "stat"; did you mean "status"?';

create or replace function jobfeed.foreign_keys_of(relation regclass)
returns table (from_columns text[], target regclass, to_columns text[])
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select distinct
        (select array_agg(attname::text order by place)
         from unnest(fk.conkey) with ordinality as k (attnum, place)
         join pg_attribute a on a.attrelid = fk.conrelid and a.attnum = k.attnum),
        fk.confrelid::regclass,
        (select array_agg(attname::text order by place)
         from unnest(fk.confkey) with ordinality as k (attnum, place)
         join pg_attribute a on a.attrelid = fk.confrelid and a.attnum = k.attnum)
    from pg_constraint fk
    where fk.contype = 'f' and fk.conrelid = relation
      -- A reference to a partitioned table has a child constraint for each of its partitions.
      and not exists (select from pg_constraint parent
                      where parent.oid = fk.conparentid and parent.conrelid = fk.conrelid)
$$;
comment on function jobfeed.foreign_keys_of(regclass) is
'The foreign keys of a table, constraints that say the same listed once.
Example: select * from jobfeed.foreign_keys_of(''job'') → {assigned_to}, thread, {id}';

create or replace function jobfeed.follow(relation regclass, link text)
returns table (from_columns text[], target regclass, to_columns text[])
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    all_keys text;
    fewest_columns int;
    choices int;
begin
    perform jobfeed.require_columns(relation, array[link]);

    select string_agg(format('(%s) references %s (%s)',
               jobfeed.quoted(fk.from_columns), jobfeed.label(fk.target), jobfeed.quoted(fk.to_columns)), ', '
               order by fk.from_columns, jobfeed.label(fk.target)),
           min(cardinality(fk.from_columns)) filter (where link = any (fk.from_columns))
    into all_keys, fewest_columns
    from jobfeed.foreign_keys_of(relation) fk;

    if fewest_columns is null then
        raise exception '"%" of % is not part of a foreign key; %', link, jobfeed.label(relation),
            coalesce('the foreign keys of ' || jobfeed.label(relation) || ' are: ' || all_keys,
                     jobfeed.label(relation) || ' has no foreign keys')
            using errcode = 'invalid_parameter_value';
    end if;

    -- The shortest key that the column is part of is meant: a single-column one before any composite one.
    return query
        select fk.* from jobfeed.foreign_keys_of(relation) fk
        where link = any (fk.from_columns) and cardinality(fk.from_columns) = fewest_columns;
    get diagnostics choices = row_count;
    if choices > 1 then
        raise exception '"%" of % is ambiguous, it is part of several foreign keys; the foreign keys of % are: %',
            link, jobfeed.label(relation), jobfeed.label(relation), all_keys
            using errcode = 'invalid_parameter_value';
    end if;
end
$$;
comment on function jobfeed.follow(regclass, text) is
'Where one step of an owner path leads: the foreign key that the column is part of.
  relation  the table to start from
  link      a column of it
Error 42703 without such a column; 22023, listing the foreign keys, when none or several can be meant.
Example: select * from jobfeed.follow(''job'', ''assigned_to'') → {assigned_to}, thread, {id}';

create or replace function jobfeed.owner_path(relation regclass, path text, out hops jsonb, out owner_column text)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    here regclass := relation;
    segments text[];
    step record;
begin
    hops := '[]';
    if path is null then
        return;
    end if;
    begin
        segments := case when strpos(path, '"') > 0 then parse_ident(path) else string_to_array(path, '.') end;
    exception when invalid_parameter_value then
        segments := '{}';
    end;
    if cardinality(segments) = 0 or '' = any (segments) then
        raise exception 'owner path ''%'' is not a list of columns joined by dots, such as assigned_to.author', path
            using errcode = 'invalid_parameter_value';
    end if;

    for place in 1 .. cardinality(segments) - 1 loop
        select * into step from jobfeed.follow(here, segments[place]);
        here := step.target;
        hops := hops || (
            select jsonb_build_object('schema', nspname, 'table', relname,
                                      'from', step.from_columns, 'to', step.to_columns)
            from pg_class join pg_namespace on pg_namespace.oid = relnamespace
            where pg_class.oid = here
        );
    end loop;
    owner_column := segments[cardinality(segments)];
    perform jobfeed.require_columns(here, array[owner_column]);
end
$$;
comment on function jobfeed.owner_path(regclass, text) is
'An owner path resolved against the catalogs.
  relation  the attached table
  path      columns joined by dots, quoted when they contain a dot: all but the last are foreign keys, the last names
            the owner
Errors as jobfeed.follow; 22023 when the path is malformed.
Example: select * from jobfeed.owner_path(''job'', ''assigned_to.author'')
  → [{"schema": "public", "table": "thread", "from": ["assigned_to"], "to": ["id"]}], author';

create or replace function jobfeed.hop_relation(hop jsonb) returns regclass
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select to_regclass(format('%I.%I', hop ->> 'schema', hop ->> 'table'))
$$;
comment on function jobfeed.hop_relation(jsonb) is
'The table of an element of feed.hops; null when it is gone.
Example: jobfeed.hop_relation(''{"schema": "public", "table": "thread"}'') = ''thread''::regclass';

create or replace function jobfeed.names_in(list jsonb) returns text[]
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
    select coalesce(array_agg(name order by place), '{}')
    from jsonb_array_elements_text(list) with ordinality as n (name, place)
$$;
comment on function jobfeed.names_in(jsonb) is
'A JSON array of names as text[]. Example: jobfeed.names_in(''["a", "b"]'') = ''{a,b}''';

create or replace function jobfeed.links_of(of_feed jobfeed.feed)
returns table (place smallint, relation regclass, link_columns text[], referenced_columns text[], next_columns text[])
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select ordinality::smallint,
           jobfeed.hop_relation(hop),
           jobfeed.names_in(hop -> 'from'),
           jobfeed.names_in(hop -> 'to'),
           case when lead(hop) over path is null then array[of_feed.owner_column]
                else jobfeed.names_in(lead(hop) over path -> 'from') end
    from jsonb_array_elements(of_feed.hops) with ordinality as h (hop, ordinality)
    window path as (order by ordinality)
    order by ordinality
$$;
comment on function jobfeed.links_of(jobfeed.feed) is
'The tables of the owner path of a feed, nearest first: by which columns of the table before each is reached, which of
its own columns they refer to, and which lead on (or name the owner, on the last).
Example: select l.* from jobfeed.feed f, jobfeed.links_of(f) l → 1, thread, {assigned_to}, {id}, {author}';
