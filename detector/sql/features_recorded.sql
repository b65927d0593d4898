-- First looks with $1 ≤ at < $2 in order: the moment, and the features if recorded by the table of hash $3.
select at, case when feature_table = $3 then features::text end as features
from detector.decisions where look = 1 and at >= $1 and at < $2
order by at, seq, id
