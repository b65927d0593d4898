select *, clock_timestamp() as now from ledger.endpoints where id = $1 for update
