select at, author, text from detector.case_notes where case_id = any($1::text[]) order by id
