select * from ledger.transfers where id = $1 and (sender = $2 or (recipient = $2 and status <> 'blocked'))
