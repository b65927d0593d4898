-- The labels of each org's gifts that became known after a time, in that order; $1 keys, $2 ids, $3 since.
with stale as (select * from unnest($1::text[], $2::text[], $3::timestamptz[]) as s (key, id, since))
select s.key, l.sender, l.gift_id, l.fraud, l.label_at, l.at, l.excess
from stale s
cross join lateral (
    select * from detector.labels where sender = s.id and label_at > s.since
    union all
    select * from detector.labels where recipient = s.id and label_at > s.since
) l
order by l.label_at, l.id
