-- Proposals lapse that name one of the decisions $1.
update detector.rulings r set status = 'lapsed'
where r.status = 'proposed' and r.id in (select ruling_id from detector.ruling_gifts where decision_id = any($1::text[]))
returning r.id, r.case_id, r.author
