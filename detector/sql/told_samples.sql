-- Each drawn gift beside the event that told of it, and what has only one of the two.
select s.gift_id as id, s.decision_id as decision, s.rate, e.seq, e.kind, e.subject, e.actor, e.body, 'system' as author
from detector.samples s full join (select * from log.events where kind = 'sample.drawn') e on e.subject = s.gift_id
order by e.seq
