-- Grants with what became of their credits: used up, gone back by reversals, and given on to how many others.
select g.*, f.consumed, f.expired, f.revoked, f.came_back, f.went_back, k.slices, k.gifted
from ledger.grants g
cross join lateral (
    select coalesce(sum(e.amount) filter (where e.account = 'consumed'), 0)::bigint as consumed,
        coalesce(sum(e.amount) filter (where e.account = 'expired'), 0)::bigint as expired,
        coalesce(sum(e.amount) filter (where e.account = 'revoked'), 0)::bigint as revoked,
        coalesce(sum(e.amount) filter (where e.kind = 'reverse' and e.amount > 0), 0)::bigint as came_back,
        coalesce(-sum(e.amount) filter (where e.kind = 'reverse' and e.amount < 0), 0)::bigint as went_back
    from ledger.entries e
    where e.grant_id = g.id and (e.account in ('consumed', 'expired', 'revoked') or e.kind = 'reverse')
) f
cross join lateral (
    select count(*) as slices, coalesce(sum(c.amount), 0)::bigint as gifted from ledger.grants c where c.parent_id = g.id
) k
where g.id = any($1::text[])
