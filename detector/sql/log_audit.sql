-- Events after seq $1, at most $2, of a subject ($3), a kind ($4) and an actor ($5) where they are given.
select seq, link, at, kind, subject, actor, body, encode(hash, 'hex') as hash from log.events
where seq > $1 and ($3::text is null or subject = $3) and ($4::text is null or kind = $4)
    and ($5::text is null or actor = $5)
order by seq limit $2
