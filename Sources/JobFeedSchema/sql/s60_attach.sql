-- Attach and detach: a table becomes a feed, and stops being one.

create or replace function jobfeed.check_relation(feed text, relation regclass) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    class record;
    other text;
begin
    select relkind, relpersistence, relispartition, nspname into class
    from pg_class join pg_namespace on pg_namespace.oid = relnamespace
    where pg_class.oid = relation;
    if not found then
        raise exception 'feed "%" needs a table; there is none with oid %', feed, coalesce(relation::oid::text, 'null')
            using errcode = 'undefined_table';
    end if;
    if class.nspname in ('pg_catalog', 'information_schema', 'pg_toast', 'jobfeed') then
        raise exception '% is a system table; attach a table of your own', jobfeed.label(relation)
            using errcode = 'wrong_object_type';
    end if;
    if class.relkind not in ('r', 'p') then
        raise exception '% is a %; only tables can be attached', jobfeed.label(relation),
            case class.relkind when 'v' then 'view' when 'm' then 'materialized view' when 'f' then 'foreign table'
                when 'S' then 'sequence' when 'i' then 'index' when 'I' then 'index' when 'c' then 'composite type'
                else 'relation of kind ' || class.relkind::text end
            using errcode = 'wrong_object_type';
    end if;
    if class.relpersistence = 't' then
        raise exception '% is a temporary table; other sessions cannot read it', jobfeed.label(relation)
            using errcode = 'wrong_object_type';
    end if;
    if class.relispartition then
        raise exception '% is a partition; attach %', jobfeed.label(relation),
            (select jobfeed.label(pg_partition_root(relation)))
            using errcode = 'wrong_object_type';
    end if;
    if class.relkind = 'r' and exists (select from pg_inherits where inhparent = relation) then
        raise exception '% has child tables by inheritance, whose changes its triggers do not see; use partitions',
            jobfeed.label(relation)
            using errcode = 'wrong_object_type';
    end if;
    select name into other from jobfeed.feed f where f.relation = check_relation.relation and f.name <> feed;
    if found then
        raise exception '% is already attached as feed "%"; run: select jobfeed.detach(%)',
            jobfeed.label(relation), other, quote_literal(other)
            using errcode = 'duplicate_object';
    end if;
end
$$;
comment on function jobfeed.check_relation(text, regclass) is
'Error 42809, 42P01 or 42710 unless the relation is a table that the feed can be attached to.
Example: select jobfeed.check_relation(''jobs'', ''job'')';

create or replace function jobfeed.primary_key_of(relation regclass) returns text[]
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select array_agg(attname::text order by place)
    from pg_index
    cross join unnest(indkey) with ordinality as k (number, place)
    join pg_attribute on attrelid = indrelid and attnum = number
    where indrelid = relation and indisprimary and place <= indnkeyatts
$$;
comment on function jobfeed.primary_key_of(regclass) is
'The columns of the primary key in its order; null without one. Example: jobfeed.primary_key_of(''job'') = ''{id}''';

create or replace function jobfeed.check_key(relation regclass, key text[]) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    nullable text;
begin
    if key is null or cardinality(key) = 0 then
        raise exception '% has no primary key; name the columns of a unique index as key', jobfeed.label(relation)
            using errcode = 'invalid_parameter_value';
    end if;
    perform jobfeed.require_columns(relation, key);
    if cardinality(key) <> (select count(distinct name) from unnest(key) as name) then
        raise exception 'the key (%) of % names a column twice', jobfeed.quoted(key), jobfeed.label(relation)
            using errcode = 'duplicate_column';
    end if;

    select attname into nullable from pg_attribute
    where attrelid = relation and attname = any (key) and not attnotnull;
    if found then
        raise exception 'key column "%" of % may be null; run: ALTER TABLE % ALTER COLUMN % SET NOT NULL',
            nullable, jobfeed.label(relation), relation, quote_ident(nullable)
            using errcode = 'invalid_parameter_value';
    end if;

    if not exists (
        select from pg_index
        where indrelid = relation and indisunique and indisvalid and indimmediate
          and indpred is null and indexprs is null
          and (select array_agg(attname::text) from unnest(indkey) with ordinality as k (number, place)
               join pg_attribute on attrelid = indrelid and attnum = number
               where place <= indnkeyatts) <@ key
    ) then
        raise exception 'the key (%) of % is not unique; run: CREATE UNIQUE INDEX ON % (%)',
            jobfeed.quoted(key), jobfeed.label(relation), relation, jobfeed.quoted(key)
            using errcode = 'invalid_parameter_value';
    end if;
end
$$;
comment on function jobfeed.check_key(regclass, text[]) is
'Error 22023, 42701 or 42703 unless these columns exist, are not null, and a unique index says that they identify a row.
Example: select jobfeed.check_key(''job'', ''{id}'')';

create or replace function jobfeed.refuse_overlap(
    relation regclass, names text[], kind text, reserved text[], purpose text
) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    both_lists constant text[] := array(select name from unnest(names) as name where name = any (reserved));
begin
    if cardinality(both_lists) > 0 then
        raise exception 'column "%" of % cannot be %, because it is %',
            both_lists[1], jobfeed.label(relation), kind, purpose
            using errcode = 'invalid_parameter_value';
    end if;
end
$$;
comment on function jobfeed.refuse_overlap(regclass, text[], text, text[], text) is
'Error 22023 when a column is in both lists.
  names, kind        the columns and what they are to be, e.g. hidden
  reserved, purpose  the columns that cannot be that, and why, e.g. the status
Example: select jobfeed.refuse_overlap(''job'', ''{id}'', ''hidden'', ''{id}'', ''the key'')';

create or replace function jobfeed.warn_of_surprises(of_feed jobfeed.feed) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    exposed text;
    foreign_policies text;
    unsafe_columns text;
    copying_roles text;
begin
    if of_feed.row_security_was_off then
        select string_agg(distinct format('"%s"', coalesce(rolname, 'PUBLIC')), ', ') into copying_roles
        from pg_class
        cross join aclexplode(relacl) as granted
        left join pg_roles on pg_roles.oid = grantee
        where pg_class.oid = of_feed.relation and privilege_type = 'INSERT' and grantee <> relowner
          and not coalesce(rolsuper or rolbypassrls, false);
        if copying_roles is not null then
            raise warning 'row security is now on for %, under which Postgres refuses COPY ... FROM to %; '
                'they have to INSERT',
                jobfeed.label(of_feed.relation), copying_roles;
        end if;
    end if;

    select string_agg(format('"%s"', attname), ', ' order by attnum) into unsafe_columns
    from pg_attribute
    where attrelid = of_feed.relation and attnum > 0 and not attisdropped and atttypid = 'json'::regtype;
    if unsafe_columns is not null then
        raise warning 'column % of % is of type json, which takes the escape \u0000 that the log cannot store, so a '
            'write with it fails; run: ALTER TABLE % ALTER COLUMN ... TYPE jsonb',
            unsafe_columns, jobfeed.label(of_feed.relation), of_feed.relation;
    end if;

    select string_agg(format('"%s"', name), ', ') into exposed
    from unnest(of_feed.hidden || of_feed.secret) as name
    where has_column_privilege('jobfeed_account', of_feed.relation, name, 'SELECT');
    if exposed is not null then
        raise warning 'accounts can read the hidden column % of % through a grant to PUBLIC or to another role; '
            'run: REVOKE SELECT ON % FROM PUBLIC', exposed, jobfeed.label(of_feed.relation), of_feed.relation;
    end if;

    select string_agg(format('"%s"', polname), ', ') into foreign_policies
    from pg_policy
    where polrelid = of_feed.relation and not polpermissive and polcmd in ('r', '*')
      and polname not like 'jobfeed\_%'
      and exists (select from unnest(polroles) as granted
                  where granted = 0 or pg_has_role('jobfeed_account', granted, 'USAGE'));
    if foreign_policies is not null then
        raise warning 'restrictive policy % of % narrows what accounts can SELECT, but not what the feed sends them',
            foreign_policies, jobfeed.label(of_feed.relation);
    end if;
end
$$;
comment on function jobfeed.warn_of_surprises(jobfeed.feed) is
'Warns when roles lose COPY FROM to row security, when accounts can read a hidden column all the same, when policies of
others say something that the feed does not know, and of columns that can hold what jsonb cannot.
Example: select jobfeed.warn_of_surprises(f) from jobfeed.feed f';

create or replace function jobfeed.attach(
    feed text,
    relation regclass,
    key text[] default null,
    status text default null,
    owner text default null,
    hidden text[] default '{}',
    quiet text[] default '{}',
    gauges text[] default '{}',
    secret text[] default '{}',
    owner_claim text default null,
    scope jsonb default null,
    lifecycle jsonb default null
) returns jobfeed.feed
language plpgsql
set search_path = pg_catalog, pg_temp
set client_min_messages = warning
as $$
declare
    before_this jobfeed.feed;
    fresh jobfeed.feed;
    path record;
    deciding text[];
    link record;
begin
    if feed is null or feed !~ '^[a-z][a-z0-9_]{0,62}$' then
        raise exception 'feed name % is not valid; it must be a lower-case letter followed by up to 62 letters, digits '
            'or "_"',
            coalesce('"' || feed || '"', 'null')
            using errcode = 'invalid_name';
    end if;
    perform jobfeed.check_relation(feed, relation);
    perform jobfeed.require_ownership(relation);

    hidden := coalesce(hidden, '{}');
    quiet := coalesce(quiet, '{}');
    gauges := coalesce(gauges, '{}');
    secret := coalesce(secret, '{}');
    scope := coalesce(scope, '{}');
    key := coalesce(key, jobfeed.primary_key_of(relation));
    perform jobfeed.check_key(relation, key);
    if status is null then
        raise exception 'feed "%" needs a status column (status => ...); %', feed,
            jobfeed.suggestion('status', jobfeed.columns_of(relation), 'columns')
            using errcode = 'invalid_parameter_value';
    end if;
    perform jobfeed.require_columns(relation, array[status] || hidden || quiet || gauges || secret);

    select * into path from jobfeed.owner_path(relation, owner);
    deciding := case when owner is null then '{}'
                     when path.hops = '[]' then array[path.owner_column]
                     else jobfeed.names_in(path.hops -> 0 -> 'from') end;
    perform jobfeed.refuse_overlap(relation, hidden, 'hidden', key, 'part of the key');
    perform jobfeed.refuse_overlap(relation, hidden, 'hidden', array[status], 'the status');
    perform jobfeed.refuse_overlap(relation, secret, 'secret', key, 'part of the key');
    perform jobfeed.refuse_overlap(relation, secret, 'secret', array[status], 'the status');
    perform jobfeed.refuse_overlap(relation, quiet, 'quiet', key, 'part of the key');
    perform jobfeed.refuse_overlap(relation, quiet, 'quiet', array[status], 'the status');
    perform jobfeed.refuse_overlap(relation, quiet, 'quiet', deciding, 'on the owner path');
    perform jobfeed.refuse_overlap(relation, gauges, 'a gauge', key, 'part of the key');
    perform jobfeed.refuse_overlap(relation, gauges, 'a gauge', array[status], 'the status');
    perform jobfeed.refuse_overlap(relation, gauges, 'a gauge', deciding, 'on the owner path');
    perform jobfeed.refuse_overlap(relation, gauges, 'a gauge', quiet, 'quiet');
    if owner is null and (owner_claim is not null or scope <> '{}') then
        raise exception 'feed "%" has an owner claim or a scope, but no owner (owner => ...), so no account sees it', feed
            using errcode = 'invalid_parameter_value';
    end if;
    if jsonb_typeof(scope) <> 'object' or exists (select from jsonb_each(scope) as claims (name, claim)
                                                  where jsonb_typeof(claim) <> 'string' or claim = '""') then
        raise exception 'the scope of feed "%" is an object of columns and claims such as {"queue": "queues"}; it is %',
            feed, scope
            using errcode = 'invalid_parameter_value';
    end if;
    perform jobfeed.require_columns(relation, array(select jsonb_object_keys(scope)));
    perform jobfeed.refuse_overlap(relation, quiet, 'quiet', array(select jsonb_object_keys(scope)), 'in the scope');
    perform jobfeed.check_lifecycle(relation, status, lifecycle, quiet);

    select * into before_this from jobfeed.feed f where f.name = attach.feed;
    if found then
        perform jobfeed.remove(before_this);
    end if;

    insert into jobfeed.feed as f (name, relation, schema_name, table_name, key, status, owner, hops, owner_column,
        hidden, quiet, gauges, secret, owner_claim, scope, lifecycle, order_column, row_security_was_off, since, attached_at)
    select attach.feed, attach.relation, nspname, relname, attach.key, attach.status, attach.owner,
        path.hops, path.owner_column, attach.hidden, attach.quiet, attach.gauges,
        attach.secret, attach.owner_claim, attach.scope, attach.lifecycle,
        coalesce(jobfeed.column_like(attach.relation, 'created_at'), jobfeed.column_like(attach.relation, 'createdAt')),
        not relrowsecurity, pg_current_xact_id(), now()
    from pg_class join pg_namespace on pg_namespace.oid = relnamespace
    where pg_class.oid = attach.relation
    returning f.* into fresh;

    -- The log before this transaction goes on to be good unless it speaks of other rows or links.
    if fresh.relation = before_this.relation and fresh.key = before_this.key
        and fresh.hops = before_this.hops and fresh.owner_column is not distinct from before_this.owner_column
    then
        update jobfeed.feed f set since = before_this.since, attached_at = before_this.attached_at
        where f.name = fresh.name
        returning f.* into fresh;
    end if;

    for link in select * from jobfeed.links_of(fresh) loop
        perform jobfeed.require_ownership(link.relation);
    end loop;
    perform jobfeed.generate(fresh);
    perform jobfeed.ring_always();
    perform jobfeed.warn_of_surprises(fresh);
    return fresh;
end
$$;
comment on function jobfeed.attach(
    text, regclass, text[], text, text, text[], text[], text[], text[], text, jsonb, jsonb
) is
'Makes a table a feed: installs the capture triggers on it and along its owner path, and the row security by which
accounts see their own rows. Attaching a feed again replaces its definition.
  feed      name of the feed: a lower-case letter, then letters, digits, "_"
  relation  the table, plain or partitioned
  key       columns that identify a row: not null, unique; default the primary key
  status    the column that the status channels are about; required
  owner     path to the user a row belongs to: foreign-key columns joined by dots, then the column that names the user;
            null: operators only
  hidden    columns that accounts may not read
  quiet     columns whose change alone is not worth a message, such as updated_at
  gauges    columns of which only the latest value matters, such as progress
  secret    columns that operators may not read either
  owner_claim  the claim of the token that the owner is compared with; null: the one that names the user
  scope        columns that, for accounts, must have one of the values which a claim lists, e.g.
               {"queue_name": "queues"}; an empty list, or "*" in it, is every value, no claim is none
  lifecycle    what the columns mean, from which rows get further columns:
    states        status to state: scheduled, pending, running, succeeded, failed, dead, cancelled → state, class
    attempts      {"failed": column, "limit": column, "counts": "attempts" or "retries"} → max_attempts, will_retry;
                  with "by": "hand" nothing is attempted again by itself
    next_attempt  {"at": [columns], "delay": column, "unit": "ms" or "s"}: the first time that is not null, and so
                  much later; delay and unit may be left out → next_attempt_at, while the job waits
    stalled       likewise: until when a running job is known to be alive → stalled_at
Returns the definition as stored. Errors name the mistake and the nearest right name (42501, 42703, 42710,
42809, 22023).
Example: select jobfeed.attach(''jobs'', ''job'', status => ''status'', owner => ''assigned_to.author'',
    hidden => ''{errors}'', quiet => ''{updated_at}'', gauges => ''{progress}'')';

create or replace function jobfeed.detach(feed text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set client_min_messages = warning
as $$
declare
    known jobfeed.feed;
    marked regclass;
begin
    select * into known from jobfeed.feed f where f.name = detach.feed;
    if not found then
        raise exception 'there is no feed "%"; %', feed,
            jobfeed.suggestion(coalesce(feed, ''), array(select name from jobfeed.feed order by name), 'feeds')
            using errcode = 'undefined_object';
    end if;
    foreach marked in array jobfeed.marked_relations(feed) loop
        perform jobfeed.require_ownership(marked);
    end loop;
    perform jobfeed.remove(known);
    perform jobfeed.ring_always();
end
$$;
comment on function jobfeed.detach(text) is
'Undoes attach: the tables are as they were before.
  feed  name of the feed
Error 42704 with the nearest name when there is no such feed; 42501 without the rights of the owner of a table.
Example: select jobfeed.detach(''jobs'')';
