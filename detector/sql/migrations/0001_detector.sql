-- The detector's own tables: what was judged, the keys that serialise judging, and the policies it judged by.
create schema detector;

create table detector.keys (
    key text collate "C" primary key,
    version bigint not null default 1
) with (fillfactor = 50);
comment on table detector.keys is
    'One row per party, IP, device or tier. Locking it is the right to judge a gift that counts on it; its version '
    'moves at every such lock, so that a remembered state proves itself fresh.';

create table detector.policies (
    generation integer primary key,
    text text not null,
    created_at timestamptz not null default clock_timestamp()
);

create table detector.activations (
    id bigint generated always as identity primary key,
    generation integer not null references detector.policies,
    at timestamptz not null default clock_timestamp(),
    author text not null
);
comment on table detector.activations is 'Which generation judges: the one of the newest row.';

create table detector.decisions (
    id text collate "C" primary key,
    at timestamptz not null,
    seq integer not null,
    look smallint not null,
    sender text collate "C" not null,
    recipient text collate "C" not null,
    amount bigint not null check (amount > 0),
    ip text collate "C",
    device text collate "C",
    tier text collate "C",
    verdict text collate "C" not null check (verdict in ('approve', 'hold', 'block')),
    refused boolean not null,
    hits json not null,
    vector json not null,
    generation integer not null,
    model text,
    score double precision check (score between 0 and 1),
    retry_after_s integer,
    payload_hash bytea not null,
    check (not refused or verdict = 'block')
);
comment on table detector.decisions is
    'Append-only. A first look is also the event that activity counts; a later look is not.';
create index decisions_sender on detector.decisions (sender, at) where look = 1;
create index decisions_recipient on detector.decisions (recipient, at) where look = 1;
create index decisions_ip on detector.decisions (ip, at) where look = 1 and ip is not null;
create index decisions_device on detector.decisions (device, at) where look = 1 and device is not null;
create index decisions_at on detector.decisions using brin (at);

create table detector.outcomes (
    decision_id text collate "C" not null,
    gift_id text collate "C" not null,
    outcome text not null check (outcome in ('settled', 'cancelled', 'returned', 'reversed', 'failed')),
    at timestamptz not null,
    noted_at timestamptz not null default clock_timestamp(),
    primary key (gift_id, outcome)
);

create function detector.refuse_change() returns trigger language plpgsql as $$
begin
    raise exception '%.% is append-only: % refused', tg_table_schema, tg_table_name, lower(tg_op)
        using errcode = 'restrict_violation', constraint = tg_table_name || '_append_only';
end $$;

create trigger decisions_append_only before update or delete or truncate on detector.decisions
    for each statement execute function detector.refuse_change();
create trigger policies_append_only before update or delete or truncate on detector.policies
    for each statement execute function detector.refuse_change();
create trigger activations_append_only before update or delete or truncate on detector.activations
    for each statement execute function detector.refuse_change();
create trigger outcomes_append_only before update or delete or truncate on detector.outcomes
    for each statement execute function detector.refuse_change();
