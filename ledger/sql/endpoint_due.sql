-- What waits for an endpoint and is due, each with what waits behind it, oldest first; $3 at most.
select e.seq, e.at, e.kind, e.subject, e.actor, e.body, u.attempts, u.first_at, true as queued, false as behind
from ledger.undelivered u join log.events e on e.seq = u.seq
where u.endpoint_id = $1 and exists (
    select from ledger.undelivered h where h.endpoint_id = $1 and h.subject = u.subject and h.next_at <= $2)
order by u.seq limit $3
