-- Each label beside the event that told of it, and what has only one of the two.
select l.gift_id as id, l.fraud, l.source, l.author, l.label_at, e.seq, e.kind, e.subject, e.actor, e.body
from detector.labels l full join (select * from log.events where kind = 'label.told') e on e.subject = l.gift_id
order by e.seq
