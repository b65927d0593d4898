insert into ledger.answers (org_id, key, body_hash, status, body)
select * from unnest($1::text[], $2::text[], $3::bytea[], $4::smallint[], $5::bytea[])
