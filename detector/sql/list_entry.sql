select * from detector.list_entries where id = $1
