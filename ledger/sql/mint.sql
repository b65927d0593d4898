-- Grants cut from others, before their entries.
insert into ledger.grants (
    id, org_id, origin, root_id, parent_id, transfer_id, priority, expires_at, giftable, giftable_at, rooted_at,
    created_at, amount)
select * from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::smallint[],
    $8::timestamptz[], $9::boolean[], $10::timestamptz[], $11::timestamptz[], $12::timestamptz[], $13::bigint[])
