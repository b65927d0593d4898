-- $1 open cases of one past gift each.
with held as (
    select d.*, 'case_b' || row_number() over () as case_id
    from detector.decisions d where id like 'past%' order by at desc limit $1
), opened as (
    insert into detector.cases (id, kind, opened_at, gifts, waiting, amount, at_risk, expected_loss, score, deadline, senders,
        recipients, reasons)
    select case_id, 'hold', at, 1, 1, amount, amount, amount / 2, null, clock_timestamp() + random() * interval '72 hours',
        array[sender], array[recipient], array['rule:shared_ip'] from held
    returning id
)
insert into detector.case_gifts (decision_id, case_id, kind, gift_id, sender, recipient, amount, ip, device, at, verdict,
    reasons, score, deadline)
select held.id, case_id, 'hold', left(held.id, -2), sender, recipient, amount, ip, device, at, 'hold',
    array['rule:shared_ip'], null, clock_timestamp() + interval '1 day'
from held join opened on opened.id = held.case_id
