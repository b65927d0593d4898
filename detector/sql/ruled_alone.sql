-- What $2 ruled alone in case $1 by the act $3, in all.
select coalesce(sum(amount), 0)::bigint from detector.rulings
where case_id = $1 and author = $2 and act = $3 and status = 'done' and second is null
