-- Every event, in order, with the moment as text, which a changed one can always be.
select seq, link, trunc(extract(epoch from at) * 1000000)::text as at, kind, subject, actor, body, hash
from log.events order by seq
