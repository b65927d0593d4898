-- The gifts of the latest $1 cases that ended, $2 gifts at most, but for a case that holds gift $3: how each left its case.
select g.case_id as case, c.ended_at as at, g.reasons, g.amount, g.score, g.standing
from (select * from detector.cases where ended_at is not null and merged_into is null order by ended_at desc limit $1) c
join detector.case_gifts g on g.case_id = c.id
where g.standing <> 'waiting'
    and not exists (select from detector.case_gifts own where own.case_id = c.id and own.gift_id = $3)
order by c.ended_at desc, g.at
limit $2
