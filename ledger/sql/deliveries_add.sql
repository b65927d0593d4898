insert into ledger.deliveries (endpoint_id, seq, attempt, at, outcome, status, error, latency_ms, next_at, excerpt)
select $1, told.* from unnest(
    $2::bigint[], $3::integer[], $4::timestamptz[], $5::text[], $6::integer[], $7::text[], $8::integer[], $9::timestamptz[], $10::text[]
) as told where exists (select from ledger.endpoints where id = $1)
