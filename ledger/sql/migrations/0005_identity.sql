-- What identity providers told, each event once, and how many of their calls ended how.
create table ledger.identity_events (
    provider text collate "C" not null,
    event_id text collate "C" not null,
    org_id text collate "C" not null references ledger.orgs,
    subject text collate "C" not null,
    level text collate "C" not null check (level in ('none', 'basic', 'full')),
    at timestamptz not null,
    outcome text collate "C" not null check (outcome in ('applied', 'older', 'ignored')),
    noted_at timestamptz not null default clock_timestamp(),
    primary key (provider, event_id)
);
comment on table ledger.identity_events is
    'Append-only. subject is the provider''s own check (a session, an inquiry); at is when the provider says it ended; '
    'level none says that what the check had verified counts no more.';
create index identity_events_org on ledger.identity_events (org_id, at);
create trigger identity_events_append_only before update or delete or truncate on ledger.identity_events
    for each statement execute function detector.refuse_change();

create table ledger.identity_calls (
    provider text collate "C" not null,
    outcome text collate "C" not null,
    calls bigint not null default 0,
    last_at timestamptz not null default clock_timestamp(),
    primary key (provider, outcome)
);
comment on table ledger.identity_calls is 'Every call of a provider by how it ended: applied, older, ignored, replayed, refused.';
