-- The gifts in the lock with a slice of a root.
select t.id from ledger.transfers t
where t.status in ('screening', 'pending', 'held')
    and t.sender in (select org_id from ledger.grants where root_id = $1 and open and reserved > 0)
    and exists (
        select from ledger.entries e join ledger.grants g on g.id = e.grant_id
        where e.posting_id = t.id || '/reserve' and e.account = 'reserved' and g.root_id = $1)
order by t.id
