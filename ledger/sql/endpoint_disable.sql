update ledger.endpoints set disabled_at = clock_timestamp(), disabled_why = $2 where id = $1
