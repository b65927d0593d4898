-- Gifts that come to their cases, as a JSON array; a case of held gifts is found by what they share.
with come as (
    insert into detector.case_gifts (
        decision_id, case_id, kind, gift_id, sender, recipient, amount, ip, device, at, verdict, reasons, score, deadline)
    select decision_id, case_id, kind, gift_id, sender, recipient, amount, ip, device, at, verdict, reasons, score, deadline
    from json_populate_recordset(null::detector.case_gifts, $1::json)
    returning *
)
insert into detector.case_keys as k (key, case_id, at)
select n.key, come.case_id, max(come.at)
from come cross join lateral (
    values ('o:' || sender), ('o:' || recipient), ('i:' || ip), ('d:' || device)) as n (key)
where n.key is not null and come.kind = 'hold'
group by n.key, come.case_id
on conflict (key, case_id) do update set at = greatest(k.at, excluded.at)
