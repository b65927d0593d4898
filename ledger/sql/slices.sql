-- What a transfer reserved: its slices, each with the nature of the grant it was cut from.
select left(e.posting_id, -8) as of_transfer, e.amount as part, g.*
from ledger.entries e join ledger.grants g on g.id = e.grant_id
where e.posting_id = any($1::text[]) and e.account = 'reserved'
order by e.posting_id, e.line
