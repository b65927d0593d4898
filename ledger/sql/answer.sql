select body_hash, status, body from ledger.answers where org_id = $1 and key = $2
