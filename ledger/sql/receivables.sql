-- A page of what is owed, oldest first; $1 org or null, $2 cursor, $3 page size.
select r.revocation_id as id, r.org_id, r.root_id, r.at, r.amount, v.reason
from ledger.receivables r join ledger.revocations v on v.id = r.revocation_id
where ($1::text is null or r.org_id = $1) and ($2::text is null or r.revocation_id > $2)
order by r.revocation_id limit $3
