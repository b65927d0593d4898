-- What a starting process remembers, so that a restart is no storm of look-ups.
select hash, name, role, org_id from ledger.api_keys where revoked_at is null limit $1
