select c.* from detector.ruling_gifts g join detector.case_gifts c using (decision_id) where g.ruling_id = $1
order by c.at, c.decision_id
