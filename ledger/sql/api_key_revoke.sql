update ledger.api_keys set revoked_at = clock_timestamp()
where hash = $1 and ($2::text is null or org_id = $2) and revoked_at is null returning name, role, org_id
