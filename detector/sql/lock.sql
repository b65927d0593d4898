select * from detector.lock($1::text[], $2, null)
