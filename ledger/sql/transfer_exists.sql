select id from ledger.transfers where id = $1
