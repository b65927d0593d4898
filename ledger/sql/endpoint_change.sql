update ledger.endpoints set url = $2, kinds = $3, description = $4 where id = $1
