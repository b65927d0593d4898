select * from ledger.transfers where id = $1 and sender = $2 for update
