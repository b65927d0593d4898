-- Transfers whose hour has come and that need no scorer (a hold that ran out), or that it was asked about just now: $1 stands in for
-- the clock, $2 at most, $3 passed over, $4 those that were asked about.
select t.*, coalesce($1::timestamptz, clock_timestamp()) as now
from ledger.transfers t
where status in ('pending', 'held') and coalesce(settle_at, hold_until) <= coalesce($1::timestamptz, statement_timestamp())
    and (status = 'held' or id = any($4::text[]))
order by coalesce(settle_at, hold_until) limit $2 offset $3
for update skip locked
