-- What of some grants of some senders waits in the lock, and for whom.
select t.id, t.recipient, t.status, coalesce(t.settle_at, t.hold_until, t.created_at) as until, e.grant_id, e.amount
from ledger.transfers t
join ledger.entries e on e.posting_id = t.id || '/reserve' and e.account = 'reserved'
where t.status in ('screening', 'pending', 'held') and t.sender = any($2::text[]) and e.grant_id = any($1::text[])
order by t.id, e.line limit $3
