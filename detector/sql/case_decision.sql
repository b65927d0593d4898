-- The decision that brought a gift ($2) into a case ($1), or into the one that its gifts were gathered into; without a gift
-- that of the most pressing one. `known` says whether the case exists.
with recursive line as (
    select id, merged_into from detector.cases where id = $1
    union all
    select c.id, c.merged_into from detector.cases c join line l on c.id = l.merged_into
)
select exists (select from line) as known, (
    select g.decision_id from detector.case_gifts g
    where g.case_id in (select id from line) and ($2::text is null or g.gift_id = $2 or g.decision_id = $2)
    order by g.standing = 'waiting' desc, g.amount * coalesce(g.score, 0.5) desc, g.at desc, g.decision_id
    limit 1) as decision
