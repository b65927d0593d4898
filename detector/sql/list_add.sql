insert into detector.list_entries (list, kind, value, reason, author, added_at, expires_at)
values ($1, $2, $3, $4, $5, clock_timestamp(), $6) returning *
