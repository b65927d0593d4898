-- Every artifact kept, newest first, with the role it plays now.
select m.sha256, m.name, m.parcel, m.author, m.added_at,
    (select array_agg(r.role order by r.role) from (values ('champion'), ('challenger')) r (role)
     where m.sha256 = (select sha256 from detector.promotions p where p.role = r.role order by id desc limit 1)) as roles
from detector.models m order by m.added_at desc, m.sha256
