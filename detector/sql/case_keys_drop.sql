-- Cases $1 are full: nothing links to them any more.
delete from detector.case_keys where case_id = any($1::text[])
