-- The same of one subject ($7).
select seq, link, at, kind, subject, actor, body, encode(hash, 'hex') as hash from log.events
where subject = $7 and seq > $1 and seq <= $2
    and ($4::text is null or kind = $4) and ($5::text is null or starts_with(kind, $5)) and ($6::text is null or actor = $6)
order by subject, seq limit $3
