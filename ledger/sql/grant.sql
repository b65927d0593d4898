select * from ledger.grants where id = $1
