-- How many gifts that orgs ($1) sent or were sent are known as fraud.
select o.org, (
    select count(*) from (
        select gift_id from detector.labels where sender = o.org and fraud
        union all select gift_id from detector.labels where recipient = o.org and fraud) known) as frauds
from unnest($1::text[]) as o (org)
