-- First looks of two parties ($1 sender, $2 recipient) around a moment ($3): of each, in each role, the latest $4 up to
-- then and the first $5 after. $6: the client whose gifts alone are shown beside those of the ledger here, null for all.
with near as (
    select p.party, d.*
    from (values ('sender', $1::text), ('recipient', $2::text)) as p (party, org)
    cross join lateral (
        (select 'sent' as did, id, at, seq, sender, recipient, amount, verdict from detector.decisions
         where sender = p.org and look = 1 and at <= $3 order by at desc limit $4)
        union all
        (select 'was sent', id, at, seq, sender, recipient, amount, verdict from detector.decisions
         where recipient = p.org and look = 1 and at <= $3 order by at desc limit $4)
        union all
        (select 'sent', id, at, seq, sender, recipient, amount, verdict from detector.decisions
         where sender = p.org and look = 1 and at > $3 order by at limit $5)
        union all
        (select 'was sent', id, at, seq, sender, recipient, amount, verdict from detector.decisions
         where recipient = p.org and look = 1 and at > $3 order by at limit $5)
    ) d
    where $6::text is null or strpos(id, ':') = 0 or starts_with(id, $6 || ':')
)
select left(n.id, -2) as id, n.at, n.sender, n.recipient, n.amount, n.verdict, l.fraud,
    string_agg(n.party || ' ' || n.did, ', ' order by n.party desc, n.did) as role
from near n left join detector.labels l on l.gift_id = left(n.id, -2)
group by n.id, n.at, n.seq, n.sender, n.recipient, n.amount, n.verdict, l.fraud
order by n.at, n.seq, n.id
