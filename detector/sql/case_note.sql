insert into detector.case_notes (case_id, author, text) values ($1, $2, $3) returning id, at
