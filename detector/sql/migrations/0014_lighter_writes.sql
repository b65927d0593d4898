-- No query asks for rows by what these hold, so sampling it for the planner buys nothing. The other columns are in the ledger's
-- 0012.
alter table detector.decisions
    alter column seq set statistics 0,
    alter column amount set statistics 0,
    alter column refused set statistics 0,
    alter column hits set statistics 0,
    alter column vector set statistics 0,
    alter column generation set statistics 0,
    alter column score set statistics 0,
    alter column retry_after_s set statistics 0,
    alter column payload_hash set statistics 0,
    alter column features set statistics 0,
    alter column digest set statistics 0,
    alter column feature_table set statistics 0;
alter table log.events
    alter column body set statistics 0,
    alter column hash set statistics 0;

-- Lock keys in order and move their versions; new ones are made. Only then read the lists' version, the clock, the
-- generation that judges, and the artifact that answers to the name `named`: 'champion', a hash, or an artifact's name (the
-- newest of that name). The clock comes after the lists, so that a decision is later than every entry that it knows. Where
-- `known` is given, keys of other parties are left out. A function, so that a statement that locks more can end with it.
create function detector.lock(
    wanted text[], named text, known text[],
    out keys text[], out versions bigint[], out lists bigint, out clock timestamptz, out generation integer, out model text
) language plpgsql as $$
begin
    -- One statement, in order, for those that exist and those that are new alike: whoever locked the new ones after the others
    -- would wait in a circle with whoever sees them already.
    with locked as (
        insert into detector.keys as k (key)
        select w.key from unnest(wanted) as w (key)
        where known is null or left(w.key, 2) <> 'o:' or substr(w.key, 3) = any(known)
        order by w.key collate "C"
        on conflict (key) do update set version = k.version + 1
        returning k.key, k.version
    )
    select coalesce(array_agg(l.key), '{}'), coalesce(array_agg(l.version), '{}') into keys, versions from locked l;
    perform pg_advisory_xact_lock_shared(6023184997150284417);  -- which detector.lists_change waits for
    select l.version, clock_timestamp(), (select a.generation from detector.activations a order by a.id desc limit 1),
        case when named = 'champion'
            then (select p.sha256 from detector.promotions p where p.role = 'champion' order by p.id desc limit 1)
            when named is not null
            then (select m.sha256 from detector.models m where m.sha256 = named or m.name = named order by m.added_at desc limit 1)
        end
    into lists, clock, generation, model from detector.lists l;
end $$;
drop function detector.lists_seen();
