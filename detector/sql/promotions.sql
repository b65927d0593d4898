select p.id, p.role, p.sha256, m.name, p.at, p.author, p.reason, p.figures
from detector.promotions p left join detector.models m using (sha256)
order by p.id desc limit $1
