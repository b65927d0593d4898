-- Each opening of the breaker beside the event that told of it, and what has only one of the two.
select o.id::text as id, 'system' as author, o.generation, o.looks, o.judged, o.blocked, o.opened_at,
    e.seq, e.kind, e.subject, e.actor, e.body
from detector.breaker_openings o
full join (select * from log.events where kind = 'breaker.opened') e on e.subject = o.id::text
order by e.seq
