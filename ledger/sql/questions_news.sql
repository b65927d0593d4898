-- Gifts that the scorer judged and has yet to hear the end of, after $1, $2 at most: how each stands, and what a ruling taught.
select q.transfer_id, q.labelled, t.status, t.ended_at, l.fraud, l.source
from ledger.questions q
join ledger.transfers t on t.id = q.transfer_id
left join detector.labels l on l.gift_id = q.transfer_id
where q.told and not q.ended and q.transfer_id > $1
order by q.transfer_id limit $2
