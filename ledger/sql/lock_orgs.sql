-- The clock is read for each row once that row is locked: the inner part may not be merged into the outer one.
with locked as materialized (
    select * from ledger.orgs where id = any($1::text[]) order by id for no key update
)
select *, clock_timestamp() as now from locked
