select id, list, kind, value, reason, author, added_at from detector.list_entries where id = any($1::bigint[])
