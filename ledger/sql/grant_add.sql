insert into ledger.grants (
    id, org_id, origin, root_id, priority, expires_at, giftable, giftable_at, rooted_at, created_at, amount)
select id, org_id, origin, id, priority, expires_at, giftable, giftable_at, created_at, created_at, amount
from unnest($1::text[], $2::text[], $3::text[], $4::smallint[], $5::timestamptz[], $6::boolean[], $7::timestamptz[],
    $8::timestamptz[], $9::bigint[])
    as g (id, org_id, origin, priority, expires_at, giftable, giftable_at, created_at, amount)
