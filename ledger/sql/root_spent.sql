-- What of a root was consumed, by whomever, and what earlier revocations took back and said of it.
select
    (select coalesce(sum(e.amount), 0) from ledger.grants g join ledger.entries e on e.grant_id = g.id
        where g.root_id = $1 and e.account = 'consumed')::bigint as consumed,
    coalesce(sum(r.amount), 0)::bigint as amount, coalesce(sum(r.receivable), 0)::bigint as receivable, count(*) as number
from ledger.revocations r where r.grant_id = $1
