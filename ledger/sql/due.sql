-- statement_timestamp() is stable, so the index ends the search at the present; clock_timestamp() would read every waiting row.
-- Transfers whose hour has come and that nobody else is working on; $1 stands in for the clock in a replay.
-- $2 at most, $3 passed over because they failed just now.
select t.*, coalesce($1::timestamptz, clock_timestamp()) as now
from ledger.transfers t
where status in ('pending', 'held') and coalesce(settle_at, hold_until) <= coalesce($1::timestamptz, statement_timestamp())
order by coalesce(settle_at, hold_until) limit $2 offset $3
for update skip locked
