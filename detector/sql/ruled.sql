-- The latest $1 gifts of which something is known and that were stopped at their first look, other than $2's; what is
-- known of a gift stands in for a ruling.
select l.gift_id as case, case when l.fraud then 'fraud' else 'good' end as act, d.at, d.hits, d.amount, d.score
from (select * from detector.labels order by id desc limit $1) l
join detector.decisions d on d.id = l.gift_id || '.1'
where d.verdict <> 'approve' and l.gift_id <> $2
