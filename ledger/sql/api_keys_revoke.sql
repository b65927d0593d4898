-- Revoke every key of an org.
update ledger.api_keys set revoked_at = clock_timestamp() where org_id = $1 and revoked_at is null returning hash, name, role, org_id
