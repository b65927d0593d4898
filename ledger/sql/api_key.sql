select name, role, org_id from ledger.api_keys where hash = $1 and revoked_at is null
