delete from ledger.undelivered where endpoint_id = $1 and seq = any ($2)
