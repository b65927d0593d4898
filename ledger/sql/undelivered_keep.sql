insert into ledger.undelivered (endpoint_id, seq, subject, attempts, first_at, next_at)
select $1, * from unnest($2::bigint[], $3::text[], $4::integer[], $5::timestamptz[], $6::timestamptz[])
on conflict (endpoint_id, seq) do update
set attempts = excluded.attempts, first_at = excluded.first_at, next_at = excluded.next_at
