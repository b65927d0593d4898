-- Every ruling with the gifts that it names.
select r.id, r.case_id, r.act, r.amount, r.why, r.orgs, r.status, r.author, r.at, r.second, r.second_at, r.second_why,
    (select array_agg(g.gift_id order by g.gift_id) from detector.ruling_gifts g where g.ruling_id = r.id) as gifts
from detector.rulings r order by r.at, r.id
