"""The job tables of four systems, in DDL of our own, and what their runners do to them, statement by statement.

Facts only: names, types, defaults and checks of the columns, and the statements' effects. Sp00ky keeps its jobs in
SurrealDB; its tables stand here as an application has them that moved, or mirrors, them to Postgres.
"""

# Sp00ky. The newer table has delay, timeout, assignee, result and a lease; in the older one created_at is set again at
# every write.
SPOOKY = """
create schema sp00ky;
set search_path = sp00ky;
create table thread (id text primary key, title text not null, author text, created_at timestamptz not null default now());
create table old_job (
    id text primary key,
    assigned_to text not null references thread on delete cascade,
    path text not null,
    payload jsonb,
    retries int not null default 0,
    max_retries int not null default 3,
    retry_strategy text not null default 'linear' check (retry_strategy in ('linear', 'exponential')),
    status text not null default 'pending' check (status in ('pending', 'processing', 'success', 'failed')),
    errors jsonb not null default '[]',
    updated_at timestamptz not null default now(),
    created_at timestamptz not null default now());
create function touch() returns trigger language plpgsql as $$ begin new.created_at := clock_timestamp(); return new; end $$;
create trigger touch before update on old_job for each row execute function touch();
create table job (
    id text primary key,
    assigned_to text references thread on delete cascade,
    path text not null,
    payload jsonb,
    retries int not null default 0,
    max_retries int not null default 3,
    retry_strategy text not null default 'linear' check (retry_strategy in ('linear', 'exponential')),
    delay int not null default 0,
    timeout int,
    assignee text,
    status text not null default 'pending' check (status in ('pending', 'processing', 'success', 'failed')),
    errors jsonb not null default '[]',
    result jsonb,
    lease_until timestamptz,
    lease_epoch int,
    updated_at timestamptz not null default now(),
    created_at timestamptz not null default now());
create index idx_job_dispatch on job (status, created_at);
create index idx_job_activity on job (updated_at);
create table job_agent (like job including all);
alter table job_agent add foreign key (assigned_to) references thread on delete cascade;
insert into thread values ('thread:1', 'mine', 'user:alice'), ('thread:2', 'hers', 'user:bob');
reset search_path;
"""


def spooky_claim(table, key, lease="40 seconds"):
    return f"""
        update sp00ky.{table} set status = 'processing', assignee = 'ssp-1', lease_epoch = coalesce(lease_epoch, 0) + 1,
            lease_until = now() + interval '{lease}', updated_at = now()
        where id = '{key}' and status = 'pending'"""


# Fluxbase: schema jobs with its row security, roles and grants; auth.users as far as it is referred to.
FLUXBASE = """
do $$ begin
    perform from pg_roles where rolname = 'authenticated';
    if not found then
        create role anon nologin noinherit; create role authenticated nologin noinherit;
        create role service_role nologin noinherit bypassrls;
    end if;
end $$;
create schema auth;
create table auth.users (id uuid primary key default gen_random_uuid(), email text);
create function auth.role() returns text language plpgsql stable as $$ begin
    return coalesce(nullif(current_setting('request.jwt.claims', true), '')::json ->> 'role', 'anon');
end $$;
create function auth.uid() returns uuid language plpgsql stable as $$ begin
    return (nullif(current_setting('request.jwt.claims', true), '')::json ->> 'sub')::uuid;
exception when others then return null;
end $$;
create schema jobs;
create table jobs.functions (
    id uuid primary key default gen_random_uuid(), name text not null, namespace text not null default 'default',
    unique (name, namespace));
create table jobs.workers (
    id uuid primary key default gen_random_uuid(), name text, hostname text,
    status text check (status in ('active', 'draining', 'stopped')), max_concurrent_jobs int default 5,
    current_job_count int, last_heartbeat_at timestamptz not null default now(), started_at timestamptz, metadata jsonb);
create table jobs.queue (
    id uuid primary key default gen_random_uuid(),
    namespace text not null,
    function_id uuid references jobs.functions on delete set null,
    job_name text not null,
    status text not null check (status in ('pending', 'running', 'completed', 'failed', 'cancelled')),
    payload jsonb,
    result jsonb,
    progress jsonb,
    priority int default 0,
    max_duration_seconds int,
    progress_timeout_seconds int,
    max_retries int default 0,
    retry_count int default 0,
    error_message text,
    worker_id uuid constraint fk_queue_worker references jobs.workers on delete set null,
    created_by uuid references auth.users on delete set null,
    user_role text,
    user_email text,
    user_name text,
    created_at timestamptz not null default now(),
    scheduled_at timestamptz,
    started_at timestamptz,
    last_progress_at timestamptz,
    completed_at timestamptz);
create index on jobs.queue (status);
create index on jobs.queue (created_by);
alter table jobs.queue replica identity full;
alter table jobs.queue enable row level security;
create policy own on jobs.queue for select to authenticated using (created_by = auth.uid());
create policy admin on jobs.queue for select to authenticated using (auth.role() = 'dashboard_admin');
create policy service on jobs.queue to service_role using (true) with check (true);
grant usage on schema jobs, auth to authenticated, service_role;
grant select on jobs.queue to authenticated;
grant all on jobs.queue to service_role;
create function jobs.notify_realtime_change() returns trigger language plpgsql as $$ begin
    perform pg_notify('fluxbase_changes', json_build_object('schema', tg_table_schema, 'table', tg_table_name,
        'type', tg_op, 'record', case when tg_op <> 'DELETE' then to_jsonb(new) - 'result' - 'payload' end,
        'old_record', case when tg_op <> 'INSERT' then to_jsonb(old) - 'result' - 'payload' end)::text);
    return null;
end $$;
create trigger queue_realtime_notify after insert or update or delete on jobs.queue
    for each row execute function jobs.notify_realtime_change();
"""

# Spooled: tenants by row security that the table's owner bypasses. The newer table has the columns of workflows, and the
# secret of the webhook.
SPOOLED = """
create schema spooled;
set search_path = spooled;
create table organizations (id text primary key, name text not null);
create table old_jobs (
    id text primary key default gen_random_uuid()::text,
    organization_id text not null references organizations on delete cascade,
    queue_name text not null,
    status text not null default 'pending' check (
        status in ('pending', 'scheduled', 'processing', 'completed', 'failed', 'deadletter', 'cancelled')),
    payload jsonb not null,
    result jsonb,
    retry_count int not null default 0,
    max_retries int not null default 3,
    last_error text,
    created_at timestamptz not null default now(),
    scheduled_at timestamptz,
    started_at timestamptz,
    completed_at timestamptz,
    expires_at timestamptz,
    priority int not null default 0 check (priority between -100 and 100),
    tags jsonb,
    timeout_seconds int not null default 300 check (timeout_seconds between 1 and 86400),
    parent_job_id text references old_jobs on delete cascade,
    completion_webhook text,
    assigned_worker_id text,
    lease_id text,
    lease_expires_at timestamptz,
    idempotency_key text,
    updated_at timestamptz not null default now());
create table jobs (like old_jobs including all);
alter table jobs
    add workflow_id text, add workflow_step int default 0, add dependency_mode text default 'all',
    add dependencies_met boolean default true, add completion_webhook_secret text,
    add foreign key (organization_id) references organizations on delete cascade,
    add foreign key (parent_job_id) references jobs on delete cascade;
create unique index on jobs (organization_id, idempotency_key) where idempotency_key is not null;
create index on jobs (organization_id, queue_name, status);
create index on jobs (organization_id, created_at desc);
create function touch() returns trigger language plpgsql as $$ begin new.updated_at := clock_timestamp(); return new; end $$;
create trigger jobs_updated_at before update on jobs for each row execute function touch();
alter table jobs enable row level security;
create policy org_isolation_jobs on jobs
    using (organization_id = current_setting('app.current_org_id', true))
    with check (organization_id = current_setting('app.current_org_id', true));
insert into organizations values ('acme', 'Acme'), ('umbrella', 'Umbrella');
reset search_path;
"""


def spooled_claim(key, worker="w1"):
    return f"""
        update spooled.jobs set status = 'processing', assigned_worker_id = '{worker}', lease_id = '{worker}-{key}',
            lease_expires_at = now() + interval '30 seconds', started_at = now()
        where id = '{key}' and status in ('pending', 'scheduled')"""


# Better Query: names are folded when its own DDL made the table, and as they are when something else did.
BETTER_QUERY = """
create schema better;
set search_path = better;
create table jobs (
    id text not null unique, name text not null, handler text not null, data jsonb, schedule text, status text not null,
    attempts numeric not null, maxAttempts numeric not null, lastRunAt timestamp, nextRunAt timestamp, lastError text,
    createdAt timestamp not null, updatedAt timestamp not null);
create table job_history (
    id text not null unique, jobId text not null references jobs (id) on delete cascade, status text not null,
    startedAt timestamp not null, completedAt timestamp, error text, result jsonb, duration numeric);
create table "Jobs" (
    id text primary key, name text not null, handler text not null, data jsonb, schedule text, status text not null,
    attempts numeric not null, "maxAttempts" numeric not null, "lastRunAt" timestamp, "nextRunAt" timestamp,
    "lastError" text, "createdAt" timestamp not null, "updatedAt" timestamp not null,
    "userId" text generated always as (data ->> 'userId') stored);
reset search_path;
"""
