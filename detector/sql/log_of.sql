-- The events of a subject ($1) up to seq $2, in order, with the moment as text.
select seq, link, log.micros(at) as at, kind, subject, actor, body, hash from log.events
where subject = $1 and seq <= $2 order by seq
