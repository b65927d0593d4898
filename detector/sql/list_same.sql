-- The entry of list $1, kind $2 and value $3 that stands.
select * from detector.list_entries
where list = $1 and kind = $2 and value = $3 and removed_at is null and (expires_at is null or expires_at > clock_timestamp())
order by id desc limit 1
