-- What lies between orgs ($1) and their counterparts in $2 < at <= $3, of each org's latest $4 gifts in each role: how
-- many gifts, how much, how many of them were stopped; `full` where an org had more. $5 as in timeline.sql.
with seen as (
    select d.*, count(*) over (partition by o.org, d.sent) >= $4 as full
    from unnest($1::text[]) as o (org)
    cross join lateral (
        (select true as sent, id, sender, recipient, amount, verdict from detector.decisions
         where sender = o.org and look = 1 and at > $2 and at <= $3 order by at desc limit $4)
        union all
        (select false, id, sender, recipient, amount, verdict from detector.decisions
         where recipient = o.org and look = 1 and at > $2 and at <= $3 order by at desc limit $4)
    ) d
    where $5::text is null or strpos(id, ':') = 0 or starts_with(id, $5 || ':')
), once as (
    select id, sender, recipient, amount, verdict, bool_or(seen.full) as full
    from seen group by id, sender, recipient, amount, verdict
)
select sender, recipient, count(*) as gifts, sum(amount)::bigint as amount,
    count(*) filter (where verdict <> 'approve') as stopped, bool_or(once.full) as full
from once group by sender, recipient
order by sender, recipient
