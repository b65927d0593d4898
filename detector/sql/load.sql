-- The events of each key after the time up to which it is known; $1 keys, $2 roles ('o', 'i', 'd', 't', 'f'), $3 ids, $4 since, $5 whether a model learns from them, $6 up to when.
with stale as (select * from unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[]) as s (key, role, id, since))
select s.key, d.at, d.seq, d.sender, d.recipient, d.amount, d.ip, d.device, d.tier, d.fingerprint, d.verdict,
    left(d.id, -2) as gift, case when $5::boolean then d.digest end as digest
from stale s
cross join lateral (
    select * from detector.decisions where s.role = 'o' and sender = s.id and at > s.since and at <= $6 and look = 1
    union all
    select * from detector.decisions where s.role = 'o' and recipient = s.id and at > s.since and at <= $6 and look = 1
    union all
    select * from detector.decisions
    where s.role = 'i' and ip = s.id and at > s.since and at <= $6 and look = 1 and ip is not null
    union all
    select * from detector.decisions
    where s.role = 'd' and device = s.id and at > s.since and at <= $6 and look = 1 and device is not null
    union all
    select * from detector.decisions
    where s.role = 'f' and fingerprint = s.id and at > s.since and at <= $6 and look = 1 and fingerprint is not null
    union all
    select * from detector.decisions where s.role = 't' and tier = s.id and at > s.since and at <= $6 and look = 1
) d
order by d.at, d.seq
