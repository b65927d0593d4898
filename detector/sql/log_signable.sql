-- The head and its link, the first link, and what else a checkpoint says.
select h.seq, h.link, h.hash, l.first_seq, l.last_seq, l.previous, log.micros(l.at) as at,
    (select hash from log.links where id = 1) as first, current_database()::text as database,
    log.micros(clock_timestamp()) as made_at
from log.head h left join log.links l on l.id = h.link
