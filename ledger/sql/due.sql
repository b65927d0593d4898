-- Transfers whose hour has come and that nobody else is working on; $1 stands in for the clock in a replay.
select t.*, coalesce($1::timestamptz, clock_timestamp()) as now
from ledger.transfers t
where status in ('pending', 'held') and coalesce(settle_at, hold_until) <= coalesce($1::timestamptz, clock_timestamp())
order by coalesce(settle_at, hold_until) limit $2
for update skip locked
