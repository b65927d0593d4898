-- What became of all transfers: by status, reason and the second look's verdict; $1 transfers to count apart as well.
select t.status, t.reason, t.settle_verdict, count(*) as transfers, count(m.id) as marked,
    coalesce(sum(t.amount), 0)::bigint as amount
from ledger.transfers t left join unnest($1::text[]) as m (id) on m.id = t.id
group by t.status, t.reason, t.settle_verdict order by t.status, t.reason, t.settle_verdict
