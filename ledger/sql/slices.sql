-- What a transfer reserved: its slices, each with the nature of the grant it was cut from, and whether a part of its root was
-- taken back.
select left(e.posting_id, -8) as of_transfer, e.amount as part,
    exists (select from ledger.revocations r where r.grant_id = g.root_id) as in_doubt, g.*
from ledger.entries e join ledger.grants g on g.id = e.grant_id
where e.posting_id = any($1::text[]) and e.account = 'reserved'
order by e.posting_id, e.line
