-- What an org had at $2 and at $3, and by what it changed between; the lines after $2 and up to $3 explain every unit.
select
    coalesce(sum(l.amount) filter (where l.account = 'available'), 0)::bigint as available,
    coalesce(sum(l.amount) filter (where l.account = 'reserved'), 0)::bigint as reserved,
    coalesce(sum(l.amount) filter (where l.account = 'available' and not l.later), 0)::bigint as opening_available,
    coalesce(sum(l.amount) filter (where l.account = 'reserved' and not l.later), 0)::bigint as opening_reserved,
    coalesce(-sum(l.amount) filter (where l.later and account = 'issued'), 0)::bigint as issued,
    coalesce(sum(l.amount) filter (where l.later and account = 'available' and kind = 'settle'), 0)::bigint as received,
    coalesce(-sum(l.amount) filter (where l.later and account = 'reserved' and kind = 'settle'), 0)::bigint
        - coalesce(sum(l.amount) filter (where l.later and account in ('expired', 'revoked') and kind = 'settle'), 0)::bigint
        as sent,
    coalesce(sum(l.amount) filter (where l.later and kind in ('reverse', 'repay') and l.amount > 0), 0)::bigint as recovered,
    coalesce(-sum(l.amount) filter (where l.later and kind in ('reverse', 'repay') and l.amount < 0), 0)::bigint as reversed,
    coalesce(sum(l.amount) filter (where l.later and account = 'consumed'), 0)::bigint as consumed,
    coalesce(sum(l.amount) filter (where l.later and account = 'revoked'), 0)::bigint as revoked,
    coalesce(sum(l.amount) filter (where l.later and account = 'expired'), 0)::bigint as expired
from (select *, at > coalesce($2::timestamptz, '-infinity') as later from ledger.lines($1, $3)) l
