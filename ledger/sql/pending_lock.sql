-- Of the transfers $1 those that wait approved, locked in the order in which everybody locks them; $2 stands in for the clock.
select t.*, coalesce($2::timestamptz, clock_timestamp()) as now
from ledger.transfers t where id = any($1::text[]) and status = 'pending' order by id for update
