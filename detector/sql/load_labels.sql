-- The labels of each key's gifts that became known after a time, in that order; $1 keys, $2 roles, $3 ids, $4 since.
with stale as (select * from unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[]) as s (key, role, id, since))
select s.key, l.sender, l.gift_id, l.fraud, l.label_at, l.at, l.excess
from stale s
cross join lateral (
    select * from detector.labels where s.role = 'o' and sender = s.id and label_at > s.since
    union all
    select * from detector.labels where s.role = 'o' and recipient = s.id and label_at > s.since
    union all
    select * from detector.labels where s.role = 'i' and ip = s.id and label_at > s.since and ip is not null
    union all
    select * from detector.labels where s.role = 'd' and device = s.id and label_at > s.since and device is not null
    union all
    select * from detector.labels
    where s.role = 'f' and fingerprint = s.id and label_at > s.since and fingerprint is not null
) l
order by l.label_at, l.id
