-- The domain that an org is known by, such as that of its people's addresses: lists may name it.
alter table ledger.orgs add column domain text collate "C";
drop function ledger.gather(text[], text[], text[], text[], integer, integer, timestamptz);
create function ledger.gather(
    senders text[], parties text[], askers text[], keys text[], outlive_s integer, most integer, at timestamptz,
    out now timestamptz,
    out org_ids text[], out tiers text[], out identities text[], out frozen boolean[], out owners text[],
    out created timestamptz[], out available bigint[], out domains text[],
    out grant_orgs text[], out grant_ids text[], out grant_available bigint[], out origins text[],
    out rooted timestamptz[],
    out answers ledger.answers[]
) language plpgsql as $$
begin
    perform from ledger.orgs where id = any(senders) order by id for no key update;
    now := coalesce(at, clock_timestamp());
    select array_agg(o.id), array_agg(o.tier), array_agg(o.identity), array_agg(o.frozen), array_agg(o.owner),
        array_agg(o.created_at), array_agg(o.available), array_agg(o.domain)
    into org_ids, tiers, identities, frozen, owners, created, available, domains
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
