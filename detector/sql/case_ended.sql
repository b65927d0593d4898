-- The last thing that was done in case $1 by somebody.
select act, author, second, coalesce(second_at, at) as at, id from detector.rulings
where case_id = $1 and status = 'done' and act <> 'freeze' order by 4 desc limit 1
