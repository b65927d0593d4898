select * from detector.recount_cases($1::text[], $2::timestamptz)
