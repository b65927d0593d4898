select id, org_id, available, expires_at from ledger.grants
where org_id = any($1::text[]) and open and expires_at < 'infinity'
    and expires_at <= coalesce($2::timestamptz, clock_timestamp()) and available > 0
