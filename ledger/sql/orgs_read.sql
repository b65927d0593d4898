select *, clock_timestamp() as now from ledger.orgs where id = any($1::text[])
