update detector.list_entries set removed_at = clock_timestamp(), removed_by = $2 where id = $1 and removed_at is null returning *
