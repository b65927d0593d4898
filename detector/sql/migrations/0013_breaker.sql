-- The breaker: while the rules and the model block a mass of gifts, what they would block is held, and an alarm stands.
create table detector.breaker_openings (
    id bigint generated always as identity primary key,
    opened_at timestamptz not null default clock_timestamp(),
    generation integer not null references detector.policies,
    looks text collate "C" not null check (looks in ('first', 'later')),
    judged bigint not null,
    blocked bigint not null check (blocked > 0 and blocked <= judged),
    closed_at timestamptz check (closed_at >= opened_at),
    closed_why text collate "C" check (closed_why in ('calm', 'no_terms')),
    constraint openings_say_why_they_ended check ((closed_at is null) = (closed_why is null))
);
comment on table detector.breaker_openings is
    'When the breaker was open and by which counts it opened, of first looks or of later ones. generation judged then.';
create unique index breaker_opens_once on detector.breaker_openings ((true)) where closed_at is null;

create table detector.breaker (sole boolean primary key default true check (sole), over_at timestamptz);
comment on table detector.breaker is
    'Its row''s lock is the right to open and to close. over_at is when too many gifts were last seen being blocked.';
insert into detector.breaker (over_at) values (null);

create table detector.breaker_tallies (
    at timestamptz not null default clock_timestamp(),
    looks text collate "C" not null check (looks in ('first', 'later')),
    judged bigint not null check (judged > 0),
    blocked bigint not null check (blocked between 0 and judged)
);
comment on table detector.breaker_tallies is
    'What each worker judged and committed in about a second, for as long as a window may be; no record of anything.';
create index breaker_tallies_at on detector.breaker_tallies (at);

-- An opening ends once, and nothing else of it changes.
create function detector.keep_opening() returns trigger language plpgsql as $$
begin
    if old.closed_at is not null or new.closed_at is null or (to_jsonb(new) - '{closed_at,closed_why}'::text[])
        <> (to_jsonb(old) - '{closed_at,closed_why}'::text[]) then
        raise exception 'breaker opening %: it ends once, and nothing else of it changes', old.id
            using errcode = 'restrict_violation', constraint = 'openings_end_once';
    end if;
    return new;
end $$;
create trigger openings_end_once before update on detector.breaker_openings
    for each row execute function detector.keep_opening();
create trigger openings_kept before delete or truncate on detector.breaker_openings
    for each statement execute function detector.refuse_change();

-- Every decision's transaction reads the lists' version anyway (detector.lists_seen): it moves with the breaker too, so that
-- a worker asks how the breaker stands only when that changed.
create trigger openings_move after insert or update on detector.breaker_openings
    for each statement execute function detector.lists_moved();
comment on table detector.lists is
    'Moves with every change of a list and of the breaker, so that a process knows whether what it remembers stands.';

alter table detector.decisions add column breaker bigint,
    add constraint breaker_never_approves
    check (breaker is null or verdict <> 'approve' or hits::text not like '%"by":"breaker"%');
comment on column detector.decisions.breaker is 'The opening under which it was taken; null where the breaker was closed.';
