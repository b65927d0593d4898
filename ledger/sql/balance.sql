-- Balances as of now: what has expired is not there any more, whether it was written off yet or not.
select o.reserved, n.now,
    coalesce(sum(g.available) filter (where g.expires_at > n.now), 0)::bigint as available,
    coalesce(sum(g.available) filter (where g.giftable and g.giftable_at <= n.now
        and g.expires_at > n.now + $2::integer * interval '1 second'), 0)::bigint as giftable,
    coalesce(sum(g.available) filter (where g.giftable and g.giftable_at > n.now
        and g.expires_at > n.now), 0)::bigint as clearing
from ledger.orgs o
cross join (select statement_timestamp() as now) n
left join ledger.grants g on g.org_id = o.id and g.open
where o.id = $1 group by o.id, n.now
