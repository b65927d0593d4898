insert into ledger.reversals (id, transfer_id, at, asked, amount, repaid, reason)
values ($1, $2, $3, $4, $5, $6, $7) returning *
