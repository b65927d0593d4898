insert into ledger.api_keys (hash, name, role, org_id) values ($1, $2, $3, $4)
