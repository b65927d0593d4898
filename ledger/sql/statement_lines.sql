select e.at, e.kind, left(e.posting_id, -1 - length(e.kind)) as subject, e.grant_id, e.account, e.amount, e.posting_id, e.line
from ledger.entries e
where e.org_id = $1 and e.at <= $2 and ($3::timestamptz is null or (e.at, e.posting_id, e.line) < ($3, $4, $5))
order by e.at desc, e.posting_id desc, e.line desc limit $6
