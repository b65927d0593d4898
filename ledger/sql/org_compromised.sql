-- A locked org counts as stolen from $2 on, or since it was first reported.
update ledger.orgs set compromised_at = coalesce(compromised_at, $2) where id = $1 returning *
