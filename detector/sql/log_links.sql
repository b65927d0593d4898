-- Every link, in order, with the moment as text, which a changed one can always be.
select id, first_seq, last_seq, trunc(extract(epoch from at) * 1000000)::text as at, previous, hash
from log.links order by id
