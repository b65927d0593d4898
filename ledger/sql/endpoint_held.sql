-- The endpoint, locked, if the lease of this name is still the one that counts.
select disabled_at from ledger.endpoints where id = $1 and lease = $2 for update
