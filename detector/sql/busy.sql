-- How many first looks of each key lie in $3 < at <= $4, each side counted up to $5; $1 roles (o, i, d, t, f), $2 ids.
select k.role || ':' || k.id as key, seen.gifts
from unnest($1::text[], $2::text[]) as k (role, id)
cross join lateral (
    select count(*) as gifts from (
        (select from detector.decisions
         where k.role = 'o' and sender = k.id and at > $3 and at <= $4 and look = 1 limit $5)
        union all
        (select from detector.decisions
         where k.role = 'o' and recipient = k.id and at > $3 and at <= $4 and look = 1 limit $5)
        union all
        (select from detector.decisions
         where k.role = 'i' and ip = k.id and at > $3 and at <= $4 and look = 1 and ip is not null limit $5)
        union all
        (select from detector.decisions
         where k.role = 'd' and device = k.id and at > $3 and at <= $4 and look = 1 and device is not null limit $5)
        union all
        (select from detector.decisions
         where k.role = 'f' and fingerprint = k.id and at > $3 and at <= $4 and look = 1 and fingerprint is not null
         limit $5)
        union all
        (select from detector.decisions
         where k.role = 't' and tier = k.id and at > $3 and at <= $4 and look = 1 limit $5)
    ) counted
) seen
