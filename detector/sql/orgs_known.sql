-- What is known of orgs ($1): how many gifts that they sent or were sent are known as fraud, and which list they are on
-- now; who is on both is blocked.
select o.org, (
        select count(*) from (
            select gift_id from detector.labels where sender = o.org and fraud
            union all select gift_id from detector.labels where recipient = o.org and fraud) known) as frauds, (
        select max(list) from detector.list_entries
        where kind = 'org' and value = o.org and removed_at is null
            and (expires_at is null or expires_at > clock_timestamp())) as list
from unnest($1::text[]) as o (org)
