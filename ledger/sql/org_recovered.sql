-- A locked org is its owner's again; its gifts are held until $2.
update ledger.orgs set compromised_at = null, cool_until = greatest(cool_until, $2) where id = $1 returning *
