-- Every entry there ever was, for a reading as of any moment.
select id, list, kind, value, added_at, expires_at, removed_at from detector.list_entries order by id
