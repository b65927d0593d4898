update ledger.orgs set cool_until = greatest(cool_until, $2) where id = $1 returning *
