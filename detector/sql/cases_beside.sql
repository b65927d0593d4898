-- The cases in which gifts wait, under lock_cases, each with a sender of theirs and the moment.
select distinct on (c.id) g.sender, clock_timestamp(), c.id, c.opened_at, c.gifts,
    c.proposed or coalesce(c.claimed_until > clock_timestamp(), false)
from unnest($1::text[]) as w (gift)
cross join lateral (
    select * from detector.case_gifts g where g.gift_id = w.gift and g.standing = 'waiting' and g.kind = 'hold' limit 1) g
cross join lateral (select * from detector.cases c where c.id = g.case_id and c.ended_at is null limit 1) c
order by c.id
