select distinct org_id from (
    select org_id from ledger.grants
    where open and expires_at < '9999-01-01Z' and expires_at <= coalesce($1::timestamptz, statement_timestamp()) and available > 0
    order by expires_at limit $2
) g order by org_id
