-- Events after seq $1 and up to $2, at most $3, of a kind ($4, or one that begins with $5) and an actor ($6) where given.
select seq, link, at, kind, subject, actor, body, encode(hash, 'hex') as hash from log.events
where seq > $1 and seq <= $2 and ($4::text is null or kind = $4) and ($5::text is null or starts_with(kind, $5))
    and ($6::text is null or actor = $6)
order by seq limit $3
