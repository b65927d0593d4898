select * from detector.case_gifts where case_id = $1 order by at, decision_id
