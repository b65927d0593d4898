-- The artifact that plays a role ($1), or no row.
select m.sha256, m.name, p.at, p.author, p.reason
from (select * from detector.promotions where role = $1 order by id desc limit 1) p
join detector.models m using (sha256)
