-- Cases whose claim ran out, or in which a proposal did.
select id from detector.cases where claimed_by is not null and claimed_until <= clock_timestamp()
union
select case_id from detector.rulings where status = 'proposed' and deadline <= clock_timestamp()
limit 100
