select id, case_id, at, author, text from detector.case_notes order by id
