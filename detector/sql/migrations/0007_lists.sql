-- Allow and block lists. Entries are versioned: taken off, never deleted, so that a moment's lists can be read at any time.
create table detector.list_entries (
    id bigint generated always as identity primary key,
    list text collate "C" not null check (list in ('allow', 'block')),
    kind text collate "C" not null check (kind in ('org', 'ip', 'device', 'fingerprint', 'domain')),
    value text collate "C" not null check (value <> ''),
    reason text not null,
    author text collate "C" not null,
    added_at timestamptz not null default clock_timestamp(),
    expires_at timestamptz check (expires_at > added_at),
    removed_at timestamptz check (removed_at >= added_at),
    removed_by text collate "C",
    check ((removed_at is null) = (removed_by is null))
);
comment on table detector.list_entries is
    'An entry counts at a moment with added_at <= moment < the sooner of expires_at and removed_at.';
create index list_entries_value on detector.list_entries (kind, value);
create index list_entries_standing on detector.list_entries (list, id) where removed_at is null;

create table detector.lists (sole boolean primary key default true check (sole), version bigint not null);
comment on table detector.lists is 'Moves with every change of a list, so that a process knows whether what it remembers stands.';
insert into detector.lists (version) values (0);

-- A change of the lists waits until every decision that is being taken is recorded, and a decision until a change is
-- committed. So a decision knows exactly the entries of before its own moment, and the lists of any moment are what the
-- decisions of that moment saw. Shared by any number of deciders, each for as long as its transaction takes.
create function detector.lists_seen() returns bigint language plpgsql volatile as $$
begin
    perform pg_advisory_xact_lock_shared(6023184997150284417);
    return (select version from detector.lists);  -- in a snapshot of after the lock
end $$;

create function detector.lists_change() returns trigger language plpgsql as $$
begin
    perform pg_advisory_xact_lock(6023184997150284417);
    return null;
end $$;
create trigger lists_alone before insert or update on detector.list_entries
    for each statement execute function detector.lists_change();

create function detector.lists_moved() returns trigger language plpgsql as $$
begin
    update detector.lists set version = version + 1;
    return null;
end $$;
create trigger lists_move after insert or update on detector.list_entries
    for each statement execute function detector.lists_moved();

create function detector.keep_entry() returns trigger language plpgsql as $$
begin
    if old.removed_at is not null or new.removed_at is null or (to_jsonb(new) - '{removed_at,removed_by}'::text[])
        <> (to_jsonb(old) - '{removed_at,removed_by}'::text[]) then
        raise exception 'list entry %: it is taken off once, and nothing else of it changes', old.id
            using errcode = 'restrict_violation', constraint = 'list_entries_end_once';
    end if;
    return new;
end $$;
create trigger list_entries_end_once before update on detector.list_entries
    for each row execute function detector.keep_entry();
create trigger list_entries_kept before delete or truncate on detector.list_entries
    for each statement execute function detector.refuse_change();

-- The domains of the parties, where the asking ledger says them.
alter table detector.decisions add column sender_domain text collate "C", add column recipient_domain text collate "C";
