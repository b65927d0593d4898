delete from ledger.endpoints where id = $1
