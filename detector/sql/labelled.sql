-- First looks of $1 <= at < $2 that left features by the feature table $3, each with what became known of its gift.
select d.at, d.tier, d.features, coalesce(l.fraud, false) as fraud
from detector.decisions d left join detector.labels l on l.gift_id = left(d.id, -2)
where d.look = 1 and d.at >= $1 and d.at < $2 and d.features is not null and d.feature_table = $3
order by d.at, d.seq
