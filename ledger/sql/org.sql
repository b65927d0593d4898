select * from ledger.orgs where id = $1
