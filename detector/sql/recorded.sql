-- Every gift at its first look, by time, with its label where it has one.
select left(d.id, length(d.id) - 2) as id, d.at, d.sender, d.recipient, d.amount, d.verdict, l.fraud, l.label_at,
    d.ip, d.device, d.tier
from detector.decisions d
left join detector.labels l on l.gift_id = left(d.id, length(d.id) - 2)
where d.look = 1
order by d.at, d.seq
