select t.*, coalesce((select sum(r.amount) from ledger.reversals r where r.transfer_id = t.id), 0)::bigint as reversed_amount
from ledger.transfers t where t.id = $1 and (t.sender = $2 or (t.recipient = $2 and t.status <> 'blocked'))
