-- Each opening that ended beside the event that told of its end.
select o.id::text as id, 'system' as author, o.closed_why, o.closed_at, e.seq, e.kind, e.subject, e.actor, e.body
from (select * from detector.breaker_openings where closed_at is not null) o
full join (select * from log.events where kind = 'breaker.closed') e on e.subject = o.id::text
order by e.seq
