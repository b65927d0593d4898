-- What was learned, and what is learned from: artifacts, which of them serves, a gift's features, and labels.
create table detector.models (
    sha256 text collate "C" primary key check (sha256 ~ '^[0-9a-f]{64}$'),
    name text collate "C" not null,
    parcel bytea not null,
    author text not null,
    added_at timestamptz not null default clock_timestamp()
);
comment on table detector.models is
    'Artifacts as every worker loads them, on whatever machine; sha256 is of the manifest, and so of all of it.';

create table detector.promotions (
    id bigint generated always as identity primary key,
    role text collate "C" not null check (role in ('champion', 'challenger')),
    sha256 text collate "C" references detector.models,
    at timestamptz not null default clock_timestamp(),
    author text not null,
    reason text not null,
    figures json not null default '{}'
);
comment on table detector.promotions is
    'Which artifact plays which role: that of the role''s newest row. A null sha256 says that none does.';
create index promotions_role on detector.promotions (role, id);

alter table detector.decisions add column features json, add column digest json;
comment on column detector.decisions.features is
    'The model''s aggregates as they were read at this look, in the order of detector.live.PRIMITIVES; null without a model.';
comment on column detector.decisions.digest is 'What later gifts of both parties may know of this one; see detector.live_graph.';

create table detector.labels (
    gift_id text collate "C" primary key,
    id bigint generated always as identity unique,
    fraud boolean not null,
    label_at timestamptz not null default clock_timestamp(),
    source text not null,
    author text not null,
    sender text collate "C" not null,
    recipient text collate "C" not null,
    ip text collate "C",
    device text collate "C",
    at timestamptz not null,
    excess integer not null
);
comment on table detector.labels is
    'What became known of a gift, once. label_at is when it was told, under the locks of its parties: a decision taken '
    'before knows nothing of it. at and excess (the clean excess of its digest) are the gift''s own.';
create index labels_sender on detector.labels (sender, label_at);
create index labels_recipient on detector.labels (recipient, label_at);
create index labels_ip on detector.labels (ip, label_at) where ip is not null;
create index labels_device on detector.labels (device, label_at) where device is not null;

create table detector.shadow_scores (
    decision_id text collate "C" not null,
    sha256 text collate "C" not null references detector.models,
    score double precision check (score between 0 and 1),
    verdict text collate "C" check (verdict in ('approve', 'hold', 'block')),
    fault text,
    scored_at timestamptz not null default clock_timestamp(),
    primary key (sha256, decision_id),
    check ((fault is null) = (score is not null))
);
comment on table detector.shadow_scores is 'What a challenger would have said of a decision, told after the fact and without effect.';

create trigger models_append_only before update or delete or truncate on detector.models
    for each statement execute function detector.refuse_change();
create trigger promotions_append_only before update or delete or truncate on detector.promotions
    for each statement execute function detector.refuse_change();
create trigger labels_append_only before update or delete or truncate on detector.labels
    for each statement execute function detector.refuse_change();
