-- Pending transfers whose hour came before $1 (or now) and that nobody asks about; $2 at most.
select t.id, t.settle_at, clock_timestamp() as now from ledger.transfers t
left join ledger.questions q on q.transfer_id = t.id
where t.status in ('pending', 'held') and t.status = 'pending'
    and coalesce(t.settle_at, t.hold_until) <= coalesce($1::timestamptz, statement_timestamp())
    and coalesce(q.lease_until <= clock_timestamp(), true)
order by coalesce(t.settle_at, t.hold_until) limit $2
