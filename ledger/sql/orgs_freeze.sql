update ledger.orgs set frozen = true where id = any($1::text[]) returning id
