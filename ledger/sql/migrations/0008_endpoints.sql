-- Endpoints: where events of the log are brought to by webhooks, at least once and in order for each subject. What an endpoint
-- was not brought yet lies above its cursor, in the log itself, or below it, in ledger.undelivered; never nowhere: the cursor
-- moves in the commit that writes the rows.
create table ledger.endpoints (
    id text collate "C" primary key,
    url text not null,
    kinds text[] not null,  -- as transfer.settled or transfer.*; none means all
    description text not null,
    secret text not null,
    old_secret text,
    old_until timestamptz,
    created_at timestamptz not null default clock_timestamp(),
    disabled_at timestamptz,
    disabled_why text collate "C" check (disabled_why in ('platform', 'failing', 'gone')),
    upto bigint not null check (upto >= 0),
    failing_since timestamptz,
    not_before timestamptz,
    due_at timestamptz,
    waiting integer not null default 0 check (waiting >= 0),
    failing integer not null default 0 check (failing between 0 and waiting),
    lease text collate "C",
    leased_until timestamptz,
    worked_at timestamptz,
    constraint disabled_says_why check ((disabled_at is null) = (disabled_why is null)),
    constraint old_secret_ends check ((old_secret is null) = (old_until is null)),
    constraint lease_ends check ((lease is null) = (leased_until is null))
);
comment on table ledger.endpoints is
    'upto is the cursor: every event up to it was delivered, given up, not wanted, or waits in ledger.undelivered. failing_since '
    'is the first failure since the last success; not_before is what the endpoint itself asked for; due_at, waiting and failing '
    'sum up ledger.undelivered. One process works on an endpoint at a time: whoever''s lease it is, until leased_until.';

create table ledger.undelivered (
    endpoint_id text collate "C" not null references ledger.endpoints on delete cascade,
    seq bigint not null,  -- of log.events, which forgets nothing; a key there would only stand in the way of whoever mends it
    subject text collate "C" not null,
    attempts integer not null check (attempts >= 0),
    first_at timestamptz,
    next_at timestamptz,
    primary key (endpoint_id, seq),
    constraint tried_since check ((attempts = 0) = (first_at is null))
);
comment on table ledger.undelivered is
    'Events that an endpoint could not be brought so far. next_at is null while an earlier event of the same subject waits.';
create unique index one_of_a_subject_at_a_time on ledger.undelivered (endpoint_id, subject) where next_at is not null;
create index undelivered_subject on ledger.undelivered (endpoint_id, subject, seq);
create index undelivered_due on ledger.undelivered (endpoint_id, next_at) where next_at is not null;

create table ledger.deliveries (
    id bigint generated always as identity primary key,
    endpoint_id text collate "C" not null references ledger.endpoints on delete cascade,
    seq bigint,  -- of log.events; null for a test
    attempt integer not null check (attempt > 0),
    at timestamptz not null,
    outcome text collate "C" not null check (outcome in ('delivered', 'failed', 'given_up')),
    status integer,
    error text,
    latency_ms integer not null check (latency_ms >= 0),
    next_at timestamptz,
    excerpt text,
    constraint an_answer_or_an_error check (status is not null or error is not null),
    constraint delivered_by_its_answer check ((outcome = 'delivered') = (status between 200 and 299 and error is null))
);
comment on table ledger.deliveries is
    'Every attempt to bring an event to an endpoint, and how it ended; kept for LOCKGATE_WEBHOOK_KEEP_DAYS.';
create index deliveries_endpoint on ledger.deliveries (endpoint_id, id);
create index deliveries_at on ledger.deliveries (at);

create function ledger.keep_delivery() returns trigger language plpgsql as $$
begin
    raise exception 'ledger.deliveries says what was: update refused'
        using errcode = 'restrict_violation', constraint = 'deliveries_stay';
end $$;
create trigger deliveries_stay before update on ledger.deliveries for each statement execute function ledger.keep_delivery();

-- The last event before a moment, 0 where there is none. Events are gap-free and their times never run backwards, so the
-- interval is halved; an index by time would be one more for every append.
create function ledger.seq_before(moment timestamptz) returns bigint language plpgsql stable as $$
declare
    low bigint := 0;
    high bigint := coalesce((select max(seq) from log.events), 0);
    middle bigint;
begin
    while low < high loop
        middle := (low + high + 1) / 2;
        if (select at < moment from log.events where seq = middle) then
            low := middle;
        else
            high := middle - 1;
        end if;
    end loop;
    return low;
end $$;
