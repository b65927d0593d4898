-- Every transfer beside all that the log told of it, in order, and its reversals; either side may be missing.
select coalesce(t.id, e.subject) as id, t.sender, t.recipient, t.amount, t.status, t.version, t.created_at, t.settled_amount,
    t.reason, r.reversals, r.amounts, e.seqs, e.kinds, e.bodies
from ledger.transfers t
full join (
    select subject, array_agg(seq order by seq) as seqs, array_agg(kind order by seq) as kinds,
        array_agg(body order by seq) as bodies
    from log.events where kind like 'transfer.%' group by subject
) e on e.subject = t.id
left join (
    select transfer_id, array_agg(id order by id) as reversals, array_agg(amount order by id) as amounts
    from ledger.reversals group by transfer_id
) r on r.transfer_id = t.id
order by 1
