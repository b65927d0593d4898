-- Transfers whose hour has come: those of $4, which the scorer was asked about just now; where there is none, what needs no scorer
-- (a hold that ran out). $1 stands in for the clock, $2 at most, $3 passed over.
select t.*, coalesce($1::timestamptz, clock_timestamp()) as now
from ledger.transfers t
where status in ('pending', 'held') and coalesce(settle_at, hold_until) <= coalesce($1::timestamptz, statement_timestamp())
    and case when $4::text[] = '{}' then status = 'held' else id = any($4::text[]) end
order by coalesce(settle_at, hold_until) limit $2 offset $3
for update skip locked
