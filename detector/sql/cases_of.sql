-- The cases in which held gifts wait.
select g.gift_id, g.case_id
from unnest($1::text[]) as w (gift)
cross join lateral (
    select * from detector.case_gifts g where g.gift_id = w.gift and g.standing = 'waiting' and g.kind = 'hold' limit 1) g
