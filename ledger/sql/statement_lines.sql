-- A page of the lines after $2 and up to $3, newest first; $4 to $6 is the last one of the page before.
select l.at, l.kind, left(l.posting_id, -1 - length(l.kind)) as subject, l.grant_id, l.account, l.amount, l.posting_id, l.line
from ledger.lines($1, $3) l
where l.at > coalesce($2::timestamptz, '-infinity') and ($4::timestamptz is null or (l.at, l.posting_id collate "C", l.line) < ($4, $5, $6))
order by l.at desc, l.posting_id collate "C" desc, l.line desc limit $7
