-- A revocation, what is owed for it, and the mark on every grant of a root that was taken back as a whole.
with revocation as (
    insert into ledger.revocations (id, grant_id, org_id, at, whole, amount, taken, receivable, forgone, returned, reason)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10::text[], $11)
    returning *
), owed as (
    insert into ledger.receivables (revocation_id, org_id, root_id, at, amount)
    select $1, $3, $2, $4, $8 where $8 > 0
), marked as (
    update ledger.grants set revoked_at = $4 where $5 and root_id = $2 and revoked_at is null
)
select * from revocation
