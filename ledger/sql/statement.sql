-- Sums of an org's entries up to a moment. What had expired by then counts as expired, written off or not.
select
    coalesce(sum(e.amount) filter (where account = 'available' and g.expires_at > $2), 0)::bigint as available,
    coalesce(sum(e.amount) filter (where account = 'reserved'), 0)::bigint as reserved,
    coalesce(-sum(e.amount) filter (where account = 'issued'), 0)::bigint as issued,
    coalesce(sum(e.amount) filter (where account = 'available' and kind = 'settle'), 0)::bigint as received,
    coalesce(-sum(e.amount) filter (where account = 'reserved' and kind = 'settle'), 0)::bigint
        - coalesce(sum(e.amount) filter (where account in ('expired', 'revoked') and kind = 'settle'), 0)::bigint as sent,
    coalesce(sum(e.amount) filter (where account = 'consumed'), 0)::bigint as consumed,
    coalesce(sum(e.amount) filter (where account = 'revoked'), 0)::bigint as revoked,
    coalesce(sum(e.amount) filter (where account = 'expired'
        or (account = 'available' and g.expires_at <= $2)), 0)::bigint as expired
from ledger.entries e join ledger.grants g on g.id = e.grant_id
where e.org_id = $1 and e.at <= $2
