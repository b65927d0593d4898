insert into ledger.answers (org_id, key, body_hash, status, body) values ($1, $2, $3, $4, $5)
