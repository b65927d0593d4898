insert into ledger.entries (posting_id, line, kind, at, org_id, grant_id, account, amount)
select * from unnest($1::text[], $2::smallint[], $3::text[], $4::timestamptz[], $5::text[], $6::text[], $7::text[],
    $8::bigint[])
