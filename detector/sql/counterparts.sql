-- Whom a sender ($1) gave to before a moment ($2 < at < $3) and did not stop at the gate, of its latest $4 gifts: the
-- latest $5 other than $6, each by its latest gift from there; $7 as $6 in timeline.sql.
with sent as (
    select * from detector.decisions
    where sender = $1 and at > $2 and at < $3 and look = 1 order by at desc limit $4
), latest as (
    select distinct on (recipient) * from sent
    where recipient <> $6 and verdict = 'approve'
        and ($7::text is null or strpos(id, ':') = 0 or starts_with(id, $7 || ':'))
    order by recipient, at desc, seq desc
)
select id, at, seq, look, sender, recipient, amount, ip, device, tier, fingerprint, hits, vector, generation, payload_hash,
    features, feature_table, sender_domain, recipient_domain
from latest order by at desc, seq desc limit $5
