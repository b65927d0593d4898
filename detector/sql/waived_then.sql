-- As waived.sql, for one gift ($1) and as of a moment ($2).
select g.reasons, r.id as ruling from detector.ruling_gifts g join detector.rulings r on r.id = g.ruling_id
where g.gift_id = $1 and r.act = 'release' and r.status = 'done' and coalesce(r.second_at, r.at) <= $2 order by r.at
