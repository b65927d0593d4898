select *, clock_timestamp() as now from detector.cases where id = $1 for no key update
