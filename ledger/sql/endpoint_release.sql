update ledger.endpoints set lease = null, leased_until = null where id = $1 and lease = $2
