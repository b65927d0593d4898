-- The opening that lasts, if one does.
select * from detector.breaker_openings where closed_at is null
