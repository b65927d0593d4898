select id, org_id, available, expires_at from ledger.grants
where org_id = any($1::text[]) and open and expires_at < '9999-01-01Z'
    and expires_at <= coalesce($2::timestamptz, statement_timestamp()) and available > 0
