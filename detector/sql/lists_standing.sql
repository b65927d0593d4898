-- What stands and may count yet: expiry is judged by each decision at its own moment.
select id, list, kind, value, added_at, expires_at, removed_at from detector.list_entries
where removed_at is null and (expires_at is null or expires_at > clock_timestamp() - interval '1 hour') order by id
