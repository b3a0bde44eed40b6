-- Presets: job tables that people already have, and what has to be known to attach them.

create or replace function jobfeed.presets() returns table (preset text, title text, definition jsonb)
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    values
    -- max_retries counts all attempts. The lease is set once per attempt, so its end is true as long as it lasts.
    ('sp00ky', 'a Sp00ky job table (outbox)', $json${
        "needs": ["id", "assigned_to", "path", "status", "retries", "max_retries", "created_at"],
        "owner": "assigned_to.author",
        "hidden": ["errors"],
        "quiet": ["updated_at"],
        "gauges": ["progress"],
        "lifecycle": {
            "states": {"pending": "pending", "processing": "running", "success": "succeeded", "failed": "failed"},
            "attempts": {"failed": "retries", "limit": "max_retries", "counts": "attempts"},
            "next_attempt": {"at": ["created_at"], "delay": "delay", "unit": "ms"},
            "stalled": {"at": ["lease_until"]}}
    }$json$::jsonb),
    -- A job whose progress is older than its limit is killed. Nothing is retried but by hand.
    ('fluxbase', 'the table jobs.queue of Fluxbase', $json${
        "feed": "jobs",
        "needs": ["id", "job_name", "status", "progress", "max_retries", "retry_count", "created_by", "created_at",
                  "scheduled_at"],
        "owner": "created_by",
        "gauges": ["progress", "last_progress_at"],
        "lifecycle": {
            "states": {"pending": "pending", "running": "running", "completed": "succeeded", "failed": "failed",
                       "cancelled": "cancelled"},
            "attempts": {"failed": "retry_count", "limit": "max_retries", "counts": "retries", "by": "hand"},
            "next_attempt": {"at": ["scheduled_at", "created_at"]},
            "stalled": {"at": ["last_progress_at"], "delay": "progress_timeout_seconds", "unit": "s"}}
    }$json$),
    -- Its pages say claimed and dlq where its code says processing and deadletter. A heartbeat moves the lease.
    ('spooled', 'the table jobs of Spooled', $json${
        "needs": ["id", "organization_id", "queue_name", "status", "retry_count", "max_retries", "created_at",
                  "scheduled_at", "lease_expires_at"],
        "owner": "organization_id",
        "owner_claim": "org_id",
        "scope": {"queue_name": "queues"},
        "secret": ["lease_id", "completion_webhook_secret"],
        "quiet": ["updated_at"],
        "heartbeat": ["lease_expires_at"],
        "lifecycle": {
            "states": {"pending": "pending", "scheduled": "scheduled", "processing": "running", "claimed": "running",
                       "completed": "succeeded", "failed": "failed", "deadletter": "dead", "dlq": "dead",
                       "cancelled": "cancelled"},
            "attempts": {"failed": "retry_count", "limit": "max_retries", "counts": "retries"},
            "next_attempt": {"at": ["scheduled_at", "created_at"]},
            "stalled": {"at": ["lease_expires_at"]}}
    }$json$),
    -- Its DDL does not quote names, so that they are folded; its times have no zone and are in UTC.
    ('better-query', 'the table jobs of Better Query', $json${
        "needs": ["id", "name", "handler", "status", "attempts", "maxAttempts", "nextRunAt", "createdAt"],
        "quiet": ["updatedAt"],
        "lifecycle": {
            "states": {"pending": "pending", "running": "running", "completed": "succeeded", "failed": "failed",
                       "cancelled": "cancelled"},
            "attempts": {"failed": "attempts", "limit": "maxAttempts", "counts": "attempts"},
            "next_attempt": {"at": ["nextRunAt"]}}
    }$json$)
$$;
comment on function jobfeed.presets() is
'The job systems that jobfeed.attach_preset knows. A definition has, each optional but the first:
  needs      the columns by which the table is recognised; names of columns are compared without regard to case
  feed       name of the feed; default the table''s
  owner, owner_claim, scope, hidden, secret, quiet, gauges, lifecycle   as in jobfeed.attach
  heartbeat  columns that a worker moves while a job runs
Columns that the table lacks are left out, because versions differ.
Example: select preset, title from jobfeed.presets()';

create or replace function jobfeed.columns_like(relation regclass, wanted jsonb) returns text[]
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select coalesce(array_agg(found order by place) filter (where found is not null), '{}')
    from jsonb_array_elements_text(coalesce(wanted, '[]')) with ordinality as w (name, place)
    cross join lateral (select jobfeed.column_like(relation, name) as found) as named
$$;
comment on function jobfeed.columns_like(regclass, jsonb) is
'Those of the columns that the table has, as it spells them.
Example: jobfeed.columns_like(''jobs'', ''["maxAttempts", "lease"]'') = ''{maxattempts}''';

create or replace function jobfeed.lifecycle_like(relation regclass, lifecycle jsonb, unfollowed text[]) returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    part text;
    times text[];
    delay text;
begin
    lifecycle := lifecycle || coalesce((
        select jsonb_build_object('attempts', lifecycle -> 'attempts' || jsonb_build_object(
            'failed', jobfeed.column_like(relation, lifecycle #>> '{attempts,failed}'),
            'limit', jobfeed.column_like(relation, lifecycle #>> '{attempts,limit}')))
        where lifecycle ? 'attempts'), '{}');
    foreach part in array '{next_attempt,stalled}'::text[] loop
        times := jobfeed.columns_like(relation, lifecycle #> array[part, 'at']);
        delay := lifecycle #>> array[part, 'delay'];
        if times = '{}' or times && unfollowed
            -- Later by nothing is right, stalled at once is not.
            or part = 'stalled' and delay is not null and jobfeed.column_like(relation, delay) is null
        then
            lifecycle := lifecycle - part;
        elsif jobfeed.column_like(relation, delay) is null then
            lifecycle := lifecycle || jsonb_build_object(part, jsonb_build_object('at', times));
        else
            lifecycle := lifecycle || jsonb_build_object(part, lifecycle -> part
                || jsonb_build_object('at', times, 'delay', jobfeed.column_like(relation, delay)));
        end if;
    end loop;
    return lifecycle;
end
$$;
comment on function jobfeed.lifecycle_like(regclass, jsonb, text[]) is
'A lifecycle in the table''s own spelling, without what it lacks the columns for or what would follow from columns whose
changes are not followed.
Example: select jobfeed.lifecycle_like(''jobs'', definition -> ''lifecycle'', ''{}'') from jobfeed.presets()';

create or replace function jobfeed.attach_preset(
    preset text,
    relation regclass,
    feed text default null,
    owner text default null,
    owner_claim text default null,
    hidden text[] default '{}',
    quiet text[] default '{}',
    gauges text[] default '{}',
    secret text[] default '{}',
    heartbeats boolean default false
) returns jobfeed.feed
language plpgsql
set search_path = pg_catalog, pg_temp
set client_min_messages = warning
as $$
declare
    known constant jsonb := (select definition from jobfeed.presets() p where p.preset = attach_preset.preset);
    missing text;
    beats text[];
    quiet_columns text[];
    owned_by text;
    scope jsonb;
    fresh jobfeed.feed;
begin
    if known is null then
        raise exception 'there is no preset "%"; %', preset,
            jobfeed.suggestion(coalesce(preset, ''), array(select p.preset from jobfeed.presets() p), 'presets')
            using errcode = 'undefined_object';
    end if;
    select name into missing from jsonb_array_elements_text(known -> 'needs') as name
    where jobfeed.column_like(relation, name) is null;
    if found then
        raise exception '% has no column "%", so it is not what preset "%" is for (%); %',
            jobfeed.label(relation), missing, preset,
            (select title from jobfeed.presets() p where p.preset = attach_preset.preset),
            jobfeed.suggestion(missing, jobfeed.columns_of(relation), 'columns')
            using errcode = 'undefined_column', hint = 'Attach it without a preset: jobfeed.attach(feed, table, status => ...).';
    end if;

    feed := coalesce(feed, known ->> 'feed', (
        select regexp_replace(left(regexp_replace(lower(relname), '[^a-z0-9_]', '_', 'g'), 63), '^([^a-z])', 'f\1')
        from pg_class where oid = relation));
    beats := jobfeed.columns_like(relation, known -> 'heartbeat');
    quiet_columns := jobfeed.columns_like(relation, known -> 'quiet') || coalesce(quiet, '{}')
        || case when heartbeats then '{}' else beats end;
    owned_by := nullif(coalesce(owner, (
        -- The first column of a path as the table spells it.
        select coalesce(quote_ident(jobfeed.column_like(relation, split_part(path, '.', 1))), split_part(path, '.', 1))
            || substr(path, length(split_part(path, '.', 1)) + 1)
        from (values (known ->> 'owner')) as paths (path))), '');
    scope := case when owned_by is not null then (
        select jsonb_object_agg(coalesce(jobfeed.column_like(relation, name), name), claim)
        from jsonb_each_text(known -> 'scope') as claims (name, claim)) end;

    fresh := jobfeed.attach(
        feed, relation,
        key => coalesce(jobfeed.primary_key_of(relation), array[jobfeed.column_like(relation, 'id')]),
        status => jobfeed.column_like(relation, 'status'),
        owner => owned_by,
        hidden => jobfeed.columns_like(relation, known -> 'hidden') || coalesce(hidden, '{}'),
        quiet => quiet_columns,
        gauges => jobfeed.columns_like(relation, known -> 'gauges') || coalesce(gauges, '{}')
            || case when heartbeats then beats else '{}' end,
        secret => jobfeed.columns_like(relation, known -> 'secret') || coalesce(secret, '{}'),
        owner_claim => case when owned_by is not null then coalesce(owner_claim, known ->> 'owner_claim') end,
        scope => scope,
        lifecycle => jobfeed.lifecycle_like(relation, known -> 'lifecycle', quiet_columns));

    -- A later version of the system may bring the columns that this one lacks.
    update jobfeed.feed f set
        hidden = f.hidden || jobfeed.lacked(attach_preset.relation, known -> 'hidden'),
        secret = f.secret || jobfeed.lacked(attach_preset.relation, known -> 'secret')
    where f.name = fresh.name
    returning f.* into fresh;
    return fresh;
end
$$;
comment on function jobfeed.attach_preset(
    text, regclass, text, text, text, text[], text[], text[], text[], boolean
) is
'Attaches the job table of a system that jobfeed knows: jobfeed.attach with what jobfeed.presets says.
  preset       sp00ky, fluxbase, spooled or better-query
  relation     its job table
  feed         name of the feed; default the preset''s, or the table''s in lower case
  owner        path to the owner instead of the preset''s; empty: operators only
  owner_claim  the claim that the owner is compared with, instead of the preset''s
  hidden, quiet, gauges, secret   further columns
  heartbeats   follow what only a heartbeat changes, so that stalled_at is known where workers renew a lease
Returns the definition as stored. Errors as jobfeed.attach; 42703 names the column by which the table is not what the
preset is for.
Example: select jobfeed.attach_preset(''spooled'', ''jobs'')';

create or replace function jobfeed.lacked(relation regclass, wanted jsonb) returns text[]
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select coalesce(array_agg(name), '{}') from jsonb_array_elements_text(coalesce(wanted, '[]')) as name
    where jobfeed.column_like(relation, name) is null
$$;
comment on function jobfeed.lacked(regclass, jsonb) is
'Those of the columns that the table does not have.
Example: jobfeed.lacked(''jobs'', ''["lease_id", "completion_webhook_secret"]'') = ''{completion_webhook_secret}''';
