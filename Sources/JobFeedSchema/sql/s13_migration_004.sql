-- Migration 4: what the columns of a job mean, columns that nobody is sent, and owners by another claim than the user.

do $migration$
begin
    if exists (select from jobfeed.migration where version = 4) then
        return;
    end if;
    alter table jobfeed.feed
        add secret text[] not null default '{}',
        add owner_claim text check (owner_claim <> ''),
        add scope jsonb not null default '{}',
        add lifecycle jsonb;
    comment on column jobfeed.feed.secret is 'columns that neither accounts nor operators may read';
    comment on column jobfeed.feed.owner_claim is
        'the claim of the token that the owner is compared with, e.g. org_id; null: the one that names the user';
    comment on column jobfeed.feed.scope is
        'columns that, for accounts, must have a value which a claim of the token lists: {"queue_name": "queues"}';
    comment on column jobfeed.feed.lifecycle is
        'what the columns mean: {"states": {"processing": "running"}, "attempts": …, "next_attempt": …, "stalled": …}; '
        'see jobfeed.attach';
    -- It gets more parameters.
    drop function if exists jobfeed.attach(text, regclass, text[], text, text, text[], text[], text[]);
    insert into jobfeed.migration (version) values (4);
end
$migration$;
