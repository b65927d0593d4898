-- Who holds, available or in the lock, anything of a root; and who was issued it.
select distinct org_id from ledger.grants where root_id = $1 and (open or id = root_id)
