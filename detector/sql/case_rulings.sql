select r.*, (select array_agg(g.gift_id order by g.gift_id) from detector.ruling_gifts g where g.ruling_id = r.id) as gifts
from detector.rulings r where r.case_id = any($1::text[]) order by r.at, r.id
