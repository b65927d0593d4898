-- Proposals that lapse: those that name one of the decisions $1, or whose deadline has passed where $2.
update detector.rulings r set status = 'lapsed'
where r.status = 'proposed' and (
    ($2::boolean and r.deadline <= clock_timestamp())
    or r.id in (select ruling_id from detector.ruling_gifts where decision_id = any($1::text[])))
returning r.id, r.case_id, r.author
