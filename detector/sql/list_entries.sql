-- Entries after id $1, at most $2, of a list ($3), a kind ($4), a value ($5) where given; with $6 only those that counted then.
select * from detector.list_entries
where id > $1 and ($3::text is null or list = $3) and ($4::text is null or kind = $4) and ($5::text is null or value = $5)
    and ($6::timestamptz is null or (added_at <= $6 and (expires_at is null or expires_at > $6)
        and (removed_at is null or removed_at > $6)))
order by id limit $2
