update ledger.orgs set identity = $2, identity_at = $3 where id = $1 returning *
