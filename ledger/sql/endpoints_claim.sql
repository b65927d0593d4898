-- Endpoints that have work and that nobody works on: they are ours for $3 seconds, under the name $1. $2 at most; $4 stands in for
-- the clock; with $5 failing subjects, or $6 events waiting, an endpoint is offered nothing new.
with clock as materialized (
    select coalesce($4::timestamptz, clock_timestamp()) as now, coalesce((select max(seq) from log.events), 0) as head
), free as (
    select e.id from ledger.endpoints e, clock
    where e.disabled_at is null and coalesce(e.leased_until <= clock.now, true) and coalesce(e.not_before <= clock.now, true)
        and (e.due_at <= clock.now or (e.upto < clock.head and e.failing < $5 and e.waiting < $6))
    order by e.worked_at nulls first limit $2
    for update of e skip locked
)
update ledger.endpoints e
set lease = $1, leased_until = clock.now + $3 * interval '1 second', worked_at = clock.now
from free, clock where e.id = free.id
returning e.*, clock.now, clock.head, (e.failing < $5 and e.waiting < $6) as open
