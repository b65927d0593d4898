update detector.rulings set status = 'lapsed'
where case_id = $1 and status = 'proposed' and deadline <= clock_timestamp()
returning id, case_id, author
