-- The grants of a root that still hold something, from the purchase outwards.
select id, org_id, available, reserved, expires_at from ledger.grants where root_id = $1 and open order by created_at, id
