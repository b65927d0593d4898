-- The hashes of events $1 to $2, in order.
select link, hash from log.events where seq between $1 and $2 order by seq
