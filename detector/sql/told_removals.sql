-- Each list entry that was taken off beside the event that told of it, and what has only one of the two.
select l.id::text as id, l.list, l.kind as listed, l.value, l.removed_by as author, l.removed_at,
    e.seq, e.kind, e.subject, e.actor, e.body
from (select * from detector.list_entries where removed_at is not null) l
full join (select * from log.events where kind = 'list.removed') e on e.subject = l.id::text
order by e.seq
