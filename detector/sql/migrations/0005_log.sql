-- The event log (law 12): what happened, in one gap-free order, hash-chained. Neutral ground: whoever changes something
-- worth telling appends to it in the same transaction, last, since the head's row is the last lock that one takes.
create schema log;

create table log.links (
    id bigint primary key,
    first_seq bigint not null,
    last_seq bigint not null check (last_seq >= first_seq),
    at timestamptz not null check (isfinite(at)),
    previous bytea not null check (length(previous) = 32),
    hash bytea not null check (length(hash) = 32)
);
comment on table log.links is 'One link for each append: a hash over the link before it and over the hashes of its own events.';

create table log.events (
    seq bigint primary key,
    link bigint not null,  -- of log.links, as the trigger events_fit has it
    at timestamptz not null check (isfinite(at)),
    kind text collate "C" not null check (kind ~ '^[a-z]+\.[a-z_]+$'),
    subject text collate "C" not null,
    actor text collate "C" not null,
    body text collate "C" not null check (json_typeof(body::json) = 'object'),
    hash bytea not null check (length(hash) = 32)
);
comment on table log.events is
    'Append-only, by log.append alone. body is JSON and kept as the text that was hashed; at is the database''s clock, and never '
    'runs backwards as seq grows.';
create index events_subject on log.events (subject, seq);

create table log.head (
    sole boolean primary key default true check (sole),
    seq bigint not null,
    link bigint not null,
    at timestamptz not null,
    hash bytea not null
);
comment on table log.head is 'The newest event and link. Its lock is the last one that a transaction takes.';
insert into log.head (seq, link, at, hash) values (0, 0, '-infinity', decode(repeat('00', 32), 'hex'));

-- Microseconds since 1970, exactly, as text; never fails, so that a changed moment is found and not a fault.
create function log.micros(at timestamptz) returns text language sql stable as $$
    select trunc(extract(epoch from at) * 1000000)::text
$$;

-- A text after its length in bytes, so that no two lists of texts read alike.
create function log.sized(told text) returns text language sql stable as $$
    select octet_length(convert_to(told, 'UTF8')) || ':' || told || E'\n'
$$;

create function log.event_hash(seq bigint, link bigint, at timestamptz, kind text, subject text, actor text, body text)
returns bytea language sql stable as $$
    select sha256(convert_to(
        E'lockgate event 1\n' || seq || E'\n' || link || E'\n' || log.micros(at) || E'\n'
        || log.sized(kind) || log.sized(subject) || log.sized(actor) || log.sized(body), 'UTF8'))
$$;

create function log.link_hash(id bigint, first_seq bigint, last_seq bigint, at timestamptz, previous bytea, events bytea[])
returns bytea language sql stable as $$
    select sha256(convert_to(
        E'lockgate link 1\n' || id || E'\n' || first_seq || E'\n' || last_seq || E'\n' || log.micros(at) || E'\n'
        || encode(previous, 'hex') || E'\n'
        || (select string_agg(encode(event, 'hex') || E'\n', '' order by nr) from unnest(events) with ordinality as e (event, nr)),
        'UTF8'))
$$;

-- Append events, in order, as one link; the first one's seq, or null where there is none to append.
create function log.append(kinds text[], subjects text[], actors text[], bodies text[]) returns bigint language plpgsql as $$
declare
    count constant integer := coalesce(cardinality(kinds), 0);
    newest log.head%rowtype;
    moment timestamptz;
    hashes bytea[];
    chained bytea;
begin
    if count <> coalesce(cardinality(subjects), 0) or count <> coalesce(cardinality(actors), 0)
        or count <> coalesce(cardinality(bodies), 0) then
        raise exception 'log.append was given % kinds, % subjects, % actors and % bodies: give as many of each', count,
            cardinality(subjects), cardinality(actors), cardinality(bodies) using errcode = 'invalid_parameter_value';
    end if;
    if count = 0 then
        return null;
    elsif count > 100000 then
        raise exception 'log.append was given % events: give at most 100000 at once', count
            using errcode = 'invalid_parameter_value';
    end if;
    select * into strict newest from log.head for update;
    moment := greatest(clock_timestamp(), newest.at);
    select array_agg(log.event_hash(newest.seq + nr, newest.link + 1, moment, kind, subject, actor, body) order by nr)
        into hashes
        from unnest(kinds, subjects, actors, bodies) with ordinality as told (kind, subject, actor, body, nr);
    chained := log.link_hash(newest.link + 1, newest.seq + 1, newest.seq + count, moment, newest.hash, hashes);
    insert into log.links (id, first_seq, last_seq, at, previous, hash)
        values (newest.link + 1, newest.seq + 1, newest.seq + count, moment, newest.hash, chained);
    insert into log.events (seq, link, at, kind, subject, actor, body, hash)
        select newest.seq + nr, newest.link + 1, moment, kind, subject, actor, body, hash
        from unnest(kinds, subjects, actors, bodies, hashes) with ordinality as told (kind, subject, actor, body, hash, nr);
    update log.head set seq = newest.seq + count, link = newest.link + 1, at = moment, hash = chained;
    return newest.seq + 1;
end $$;

-- The chain a second time: whoever inserts without log.append is refused, unless the rows follow on as its own would. What
-- their hashes say is `lockgate verify`'s to judge.
create function log.follow_head() returns trigger language plpgsql as $$
declare
    newest log.head%rowtype;
begin
    select * into strict newest from log.head for update;
    if new.id <> newest.link + 1 or new.first_seq <> newest.seq + 1 or new.previous <> newest.hash or new.at < newest.at then
        raise exception 'link % does not follow the head (link %, event %): append with log.append', new.id, newest.link, newest.seq
            using errcode = 'restrict_violation', constraint = 'links_follow';
    end if;
    return new;
end $$;
create trigger links_follow before insert on log.links for each row execute function log.follow_head();

create function log.fit_link() returns trigger language plpgsql as $$
begin
    if exists (
        select from appended e join log.links l on l.id = e.link cross join log.head h
        where e.seq not between l.first_seq and l.last_seq or l.id <> h.link + 1 or e.at <> l.at
    ) then
        raise exception 'an event does not fit its link: append with log.append'
            using errcode = 'restrict_violation', constraint = 'events_fit';
    end if;
    return null;
end $$;
create trigger events_fit after insert on log.events referencing new table as appended
    for each statement execute function log.fit_link();

create function log.step_head() returns trigger language plpgsql as $$
begin
    if new.link <> old.link + 1 or not exists (
        select from log.links l
        where l.id = new.link and l.last_seq = new.seq and l.at = new.at and l.hash = new.hash
            and (select count(*) from log.events e where e.seq between l.first_seq and l.last_seq and e.link = l.id)
                = l.last_seq - l.first_seq + 1
    ) then
        raise exception 'the head moves only onto the next whole link, by log.append'
            using errcode = 'restrict_violation', constraint = 'head_steps';
    end if;
    return new;
end $$;
create trigger head_steps before update on log.head for each row execute function log.step_head();

-- A link without the head on it would be a chain that ends twice: refused when the transaction commits.
create function log.reach_head() returns trigger language plpgsql as $$
begin
    if not exists (select from log.head where link >= new.id) then
        raise exception 'link % was added and the head never moved onto it: append with log.append', new.id
            using errcode = 'restrict_violation', constraint = 'links_reached';
    end if;
    return null;
end $$;
create constraint trigger links_reached after insert on log.links deferrable initially deferred
    for each row execute function log.reach_head();

create function log.refuse_change() returns trigger language plpgsql as $$
begin
    raise exception '%.% is append-only: % refused', tg_table_schema, tg_table_name, lower(tg_op)
        using errcode = 'restrict_violation', constraint = tg_table_name || '_append_only';
end $$;
create trigger links_append_only before update or delete or truncate on log.links
    for each statement execute function log.refuse_change();
create trigger events_append_only before update or delete or truncate on log.events
    for each statement execute function log.refuse_change();
create trigger head_stays before insert or delete or truncate on log.head
    for each statement execute function log.refuse_change();
