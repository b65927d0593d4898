-- A page of an org's transfers, newest first; $2 direction (sent, received, both), $3 status, $4 cursor, $5 page size.
select t.*, coalesce((select sum(r.amount) from ledger.reversals r where r.transfer_id = t.id), 0)::bigint as reversed_amount
from (
    (select * from ledger.transfers where $2 <> 'received' and sender = $1 and ($3::text is null or status = $3)
        and ($4::text is null or id < $4) order by id desc limit $5)
    union all
    (select * from ledger.transfers where $2 <> 'sent' and recipient = $1 and status <> 'blocked'
        and ($3::text is null or status = $3) and ($4::text is null or id < $4) order by id desc limit $5)
) t order by t.id desc limit $5
