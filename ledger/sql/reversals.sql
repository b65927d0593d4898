select * from ledger.reversals where transfer_id = $1 order by at, id
