-- A cheaper append, and the same chain to the byte. Events are hashed while they are inserted, and nothing that was just
-- written is read back. In place of triggers that compared every row with the head, each table refuses whatever is not
-- log.append's own statement; that what it wrote is whole, log.append itself knows.
do $$
begin
    -- Texts are hashed by their length in bytes of UTF-8, which elsewhere is not the length that the database keeps.
    if current_setting('server_encoding') not in ('UTF8', 'SQL_ASCII') then
        raise exception 'the database''s encoding is %: the event log needs UTF8; make one with encoding ''UTF8'' and restore into it',
            current_setting('server_encoding') using errcode = 'feature_not_supported';
    end if;
end $$;

-- Append events, in order, as one link; the first one's seq, or null where there is none to append.
create or replace function log.append(kinds text[], subjects text[], actors text[], bodies text[]) returns bigint language plpgsql as $$
declare
    count constant integer := coalesce(cardinality(kinds), 0);
    newest log.head%rowtype;
    moment timestamptz;
    place text;
    hashes text;
    written integer;
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
    perform set_config('log.appends', 'on', true);
    select * into strict newest from log.head for update;
    moment := greatest(clock_timestamp(), newest.at);
    place := E'\n' || newest.link + 1 || E'\n' || log.micros(moment) || E'\n';
    -- The canonical text of log.event_hash, written out: a call for each of its parts would cost as much as the hash.
    with added as (
        insert into log.events (seq, link, at, kind, subject, actor, body, hash)
        select newest.seq + nr, newest.link + 1, moment, kind, subject, actor, body, sha256(convert_to(
            E'lockgate event 1\n' || newest.seq + nr || place
            || octet_length(kind) || ':' || kind || E'\n' || octet_length(subject) || ':' || subject || E'\n'
            || octet_length(actor) || ':' || actor || E'\n' || octet_length(body) || ':' || body || E'\n',
            'UTF8'))
        from unnest(kinds, subjects, actors, bodies) with ordinality as told (kind, subject, actor, body, nr)
        returning seq, hash
    )
    select string_agg(encode(hash, 'hex') || E'\n', '' order by seq), count(*) into hashes, written from added;
    if written <> count then
        raise exception 'of % events % were written', count, written using errcode = 'restrict_violation', constraint = 'events_fit';
    end if;
    chained := sha256(convert_to(
        E'lockgate link 1\n' || newest.link + 1 || E'\n' || newest.seq + 1 || E'\n' || newest.seq + count || E'\n'
        || log.micros(moment) || E'\n' || encode(newest.hash, 'hex') || E'\n' || hashes, 'UTF8'));
    insert into log.links (id, first_seq, last_seq, at, previous, hash)
        values (newest.link + 1, newest.seq + 1, newest.seq + count, moment, newest.hash, chained);
    update log.head set seq = newest.seq + count, link = newest.link + 1, at = moment, hash = chained;
    perform set_config('log.appends', 'off', true);
    return newest.seq + 1;
end $$;

create function log.refuse_insert() returns trigger language plpgsql as $$
begin
    raise exception '%.% is written by log.append alone: % refused', tg_table_schema, tg_table_name, lower(tg_op)
        using errcode = 'restrict_violation', constraint = tg_name, hint = 'append with log.append';
end $$;
drop trigger links_follow on log.links;
drop trigger links_reached on log.links;
drop trigger events_fit on log.events;
drop trigger head_steps on log.head;
drop function log.follow_head(), log.fit_link(), log.step_head(), log.reach_head();
-- A condition costs next to nothing where a function would be called for every statement.
create trigger events_fit before insert on log.events for each statement
    when (current_setting('log.appends', true) is distinct from 'on') execute function log.refuse_insert();
create trigger links_follow before insert on log.links for each statement
    when (current_setting('log.appends', true) is distinct from 'on') execute function log.refuse_insert();
create trigger head_steps before update on log.head for each statement
    when (current_setting('log.appends', true) is distinct from 'on') execute function log.refuse_insert();
