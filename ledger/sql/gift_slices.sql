-- What is unspent of the grants that a gift made, in burn order, each with the grant that it was cut from.
select g.id, g.org_id, g.available, g.parent_id, p.org_id as parent_org
from ledger.entries e
join ledger.grants g on g.id = e.grant_id
join ledger.grants p on p.id = g.parent_id
where e.posting_id = $1 || '/settle' and e.account = 'available' and g.available > 0 and g.expires_at > $2
order by g.priority, g.expires_at, g.created_at, g.id
