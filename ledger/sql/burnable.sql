select id, available, origin, rooted_at from ledger.grants
where org_id = $1 and open and available > 0 and expires_at > $2
order by org_id, priority, expires_at, created_at, id
