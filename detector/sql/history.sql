-- First looks with $1 ≤ at < $2 in order, with what became known of each gift, by $5 where that is given. `facts` are the
-- features at the places $3, counted from 0, where they were recorded by the feature table whose hash is $4. With $6,
-- `weight` is how many gifts of life each stands for, where reviewing decided which truths are known: a drawn gift that was
-- ruled on 1 / rate; another one whose truth is known, or a drawn one that was held later and so reviewed for certain, 1;
-- one whose truth nobody knows 0.
select left(d.id, -2) as id, d.at, d.sender, d.recipient, d.amount, d.verdict, l.fraud, l.label_at, d.ip, d.device,
    d.fingerprint, d.tier, o.outcome, s.rate as sample_rate,
    case when not $6::boolean then null when l.fraud is null then 0.0
        when s.rate is not null and l.source = 'ruling' and d.verdict = 'approve' and not exists (
            select from detector.case_gifts c where c.gift_id = s.gift_id and c.kind = 'hold') then 1 / s.rate
        else 1.0 end as weight,
    f.facts
from detector.decisions d
left join detector.labels l on l.gift_id = left(d.id, -2) and ($5::timestamptz is null or l.label_at <= $5)
left join detector.samples s on s.gift_id = left(d.id, -2)
left join lateral (
    select outcome from detector.outcomes
    where gift_id = left(d.id, -2) and ($5::timestamptz is null or (at <= $5 and noted_at <= $5))
    order by at desc, noted_at desc limit 1) o on true
left join lateral (
    select array_agg((d.features ->> place)::bigint order by nr) as facts
    from unnest($3::integer[]) with ordinality as places (place, nr)
    where d.feature_table = $4) f on true
where d.look = 1 and d.at >= $1 and d.at < $2
order by d.at, d.seq, d.id
