-- Links $1 to $2, in order, with the moment as text.
select id, first_seq, last_seq, log.micros(at) as at, previous, hash from log.links where id between $1 and $2 order by id
