-- A gift touches its sender's row several times, and a column's CHECK runs again at every touch. A domain's runs only
-- where a value enters: the pattern of an id was a third of the cost of posting to an org.
drop function ledger.gather(text[], text[], text[], text[], integer, integer, timestamptz);
drop type ledger.gathered;
create domain ledger.org_id as text collate "C" constraint org_id_pattern check (
    value ~ '^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$');
alter table ledger.orgs drop constraint orgs_id_check, alter column id type ledger.org_id;

-- One round trip for the gate: lock the senders in id order, and only then, in fresh snapshots, read what a decision
-- needs. Grants come in burn order, at most `most` for each sender. Plain columns: whole rows cost several times more
-- to send and to read.
create function ledger.gather(
    senders text[], parties text[], askers text[], keys text[], outlive_s integer, most integer, at timestamptz,
    out now timestamptz,
    out org_ids text[], out tiers text[], out identities text[], out frozen boolean[], out owners text[],
    out created timestamptz[], out available bigint[],
    out grant_orgs text[], out grant_ids text[], out grant_available bigint[], out origins text[],
    out rooted timestamptz[],
    out answers ledger.answers[]
) language plpgsql as $$
begin
    perform from ledger.orgs where id = any(senders) order by id for no key update;
    now := coalesce(at, clock_timestamp());
    select array_agg(o.id), array_agg(o.tier), array_agg(o.identity), array_agg(o.frozen), array_agg(o.owner),
        array_agg(o.created_at), array_agg(o.available)
    into org_ids, tiers, identities, frozen, owners, created, available
    from ledger.orgs o where o.id = any(parties);
    select array_agg(g.org_id), array_agg(g.id), array_agg(g.available), array_agg(g.origin), array_agg(g.rooted_at)
    into grant_orgs, grant_ids, grant_available, origins, rooted
    from unnest(senders) as s (id)
    cross join lateral (
        select * from ledger.grants g
        where g.org_id = s.id and g.open and g.available > 0 and g.giftable and g.giftable_at <= gather.now
          and g.expires_at > gather.now + outlive_s * interval '1 second'
        order by g.org_id, g.priority, g.expires_at, g.created_at, g.id limit most
    ) g;
    answers := array(
        select a from unnest(askers, keys) as w (org_id, key)
        -- limit 1 keeps the planner from turning this around while the table is young and looks empty
        cross join lateral (select * from ledger.answers a where a.org_id = w.org_id and a.key = w.key limit 1) a);
end $$;

-- Both balances in one statement, where there were three.
create or replace function ledger.post_entries() returns trigger language plpgsql as $$
declare
    unbalanced text;
    orgs_missing bigint;
    grants_missing bigint;
begin
    select posting_id into unbalanced from entered group by posting_id having sum(amount) <> 0 limit 1;
    if found then
        raise exception 'posting % does not sum to zero', unbalanced
            using errcode = 'check_violation', constraint = 'posting_sums_to_zero';
    end if;
    with moved as materialized (
        select org_id, grant_id, coalesce(sum(amount) filter (where account = 'available'), 0)::bigint as available,
            coalesce(sum(amount) filter (where account = 'reserved'), 0)::bigint as reserved
        from entered where account in ('available', 'reserved') group by org_id, grant_id
    ), of_orgs as (
        select org_id, sum(available)::bigint as available, sum(reserved)::bigint as reserved from moved group by org_id
    ), orgs as (
        update ledger.orgs o set available = o.available + d.available, reserved = o.reserved + d.reserved
        from of_orgs d where o.id = d.org_id returning 1
    ), grants as (
        update ledger.grants g set available = g.available + d.available, reserved = g.reserved + d.reserved,
            open = g.available + d.available > 0 or g.reserved + d.reserved > 0
        from moved d where g.id = d.grant_id and g.org_id = d.org_id returning 1
    )
    select (select count(*) from of_orgs) - (select count(*) from orgs),
        (select count(*) from moved) - (select count(*) from grants)
    into orgs_missing, grants_missing;
    if orgs_missing > 0 then
        raise exception 'entries name an org that does not exist'
            using errcode = 'foreign_key_violation', constraint = 'entries_org_exists';
    end if;
    if grants_missing > 0 then
        raise exception 'entries name a grant that does not exist or is another org''s'
            using errcode = 'foreign_key_violation', constraint = 'entries_grant_exists';
    end if;
    return null;
end $$;

-- A condition that is seldom true costs less than a function that looks for it in every batch.
drop trigger transfers_start on ledger.transfers;
create or replace function ledger.judge_start() returns trigger language plpgsql as $$
begin
    raise exception 'transfer % cannot start as % (version %)', new.id, new.status, new.version
        using errcode = 'check_violation', constraint = 'transfers_start_unsettled';
end $$;
create trigger transfers_start after insert on ledger.transfers for each row
    when (new.status not in ('pending', 'held', 'blocked') or new.version <> 1) execute function ledger.judge_start();
