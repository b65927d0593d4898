-- Each list entry beside the event that told of it, and what has only one of the two.
select l.id::text as id, l.list, l.kind as listed, l.value, l.reason, l.author, l.added_at, l.expires_at,
    e.seq, e.kind, e.subject, e.actor, e.body
from detector.list_entries l full join (select * from log.events where kind = 'list.added') e on e.subject = l.id::text
order by e.seq
