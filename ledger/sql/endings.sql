-- What became of all transfers: by status, reason and second look; $1 transfers to count apart as well.
select t.status, t.reason, d.verdict as second_look, count(*) as transfers, count(m.id) as marked,
    coalesce(sum(t.amount), 0)::bigint as amount
from ledger.transfers t
left join detector.decisions d on d.id = t.id || '.2'
left join unnest($1::text[]) as m (id) on m.id = t.id
group by t.status, t.reason, d.verdict order by t.status, t.reason, d.verdict
