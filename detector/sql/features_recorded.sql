-- First looks with $1 ≤ at < $2 in order: the moment, and the features where as many ($3) were recorded as the table has.
select at, case when json_array_length(features) = $3 then features::text end as features
from detector.decisions where look = 1 and at >= $1 and at < $2
order by at, seq, id
