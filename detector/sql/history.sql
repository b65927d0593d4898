-- First looks with $1 ≤ at < $2 in order, with what became known of each gift. `facts` are the features at the places
-- $3, counted from 0, where they were recorded by the feature table whose hash is $4.
select left(d.id, -2) as id, d.at, d.sender, d.recipient, d.amount, d.verdict, l.fraud, l.label_at, d.ip, d.device,
    d.fingerprint, d.tier, o.outcome, f.facts
from detector.decisions d
left join detector.labels l on l.gift_id = left(d.id, -2)
left join lateral (
    select outcome from detector.outcomes where gift_id = left(d.id, -2) order by at desc, noted_at desc limit 1) o on true
left join lateral (
    select array_agg((d.features ->> place)::bigint order by nr) as facts
    from unnest($3::integer[]) with ordinality as places (place, nr)
    where d.feature_table = $4) f on true
where d.look = 1 and d.at >= $1 and d.at < $2
order by d.at, d.seq, d.id
