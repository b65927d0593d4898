select * from ledger.transfers where id = $1 for update
