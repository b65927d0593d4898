-- Law 1 over the whole ledger: every posting balanced, every balance the sum of its entries, every purchase explained by
-- what became of it (law 9), and the total conserved.
select
    (select count(*) from (select from ledger.entries group by posting_id having sum(amount) <> 0) p) as unbalanced_postings,
    (select count(*) from ledger.orgs o left join (
        select org_id, sum(amount) filter (where account = 'available') as available,
            sum(amount) filter (where account = 'reserved') as reserved
        from ledger.entries group by org_id) e on e.org_id = o.id
        where o.available <> coalesce(e.available, 0) or o.reserved <> coalesce(e.reserved, 0)) as orgs_off,
    (select count(*) from ledger.grants g left join (
        select grant_id, sum(amount) filter (where account = 'available') as available,
            sum(amount) filter (where account = 'reserved') as reserved
        from ledger.entries group by grant_id) e on e.grant_id = g.id
        where g.available <> coalesce(e.available, 0) or g.reserved <> coalesce(e.reserved, 0)) as grants_off,
    (select count(*) from ledger.transfers t left join (
        select left(posting_id, -8) as id, sum(amount) as amount from ledger.entries
        where kind = 'reserve' and account = 'reserved' group by 1) e on e.id = t.id
        where t.status <> 'blocked' and t.amount is distinct from e.amount) as transfers_off,
    (select count(*) from ledger.grants r join (
        select root_id, sum(available + reserved) as here from ledger.grants group by root_id) h on h.root_id = r.id
        left join (
        select g.root_id, sum(e.amount) as gone from ledger.entries e join ledger.grants g on g.id = e.grant_id
        where e.account in ('consumed', 'expired', 'revoked') group by g.root_id) e on e.root_id = r.id
        where r.amount <> h.here + coalesce(e.gone, 0)) as roots_off,
    (select coalesce(sum(reserved), 0) from ledger.orgs)::bigint as reserved,
    (select coalesce(sum(amount), 0) from ledger.transfers where status in ('screening', 'pending', 'held'))::bigint as in_lock,
    (select coalesce(sum(available + reserved), 0) from ledger.orgs)::bigint as balances,
    (select coalesce(-sum(amount) filter (where account = 'issued'), 0) from ledger.entries)::bigint as issued,
    (select coalesce(sum(amount) filter (where account = 'consumed'), 0) from ledger.entries)::bigint as consumed,
    (select coalesce(sum(amount) filter (where account = 'expired'), 0) from ledger.entries)::bigint as expired,
    (select coalesce(sum(amount) filter (where account = 'revoked'), 0) from ledger.entries)::bigint as revoked
