-- A role's promotions, oldest first.
select sha256, reason from detector.promotions where role = $1 order by id
