-- Events above the cursor $2 and up to $3 that an endpoint wants, oldest first; $5 at most. One is behind where an earlier event of its
-- subject waits.
select e.seq, e.at, e.kind, e.subject, e.actor, e.body, 0 as attempts, null::timestamptz as first_at, false as queued,
    exists (select from ledger.undelivered u where u.endpoint_id = $1 and u.subject = e.subject) as behind
from log.events e
where e.seq > $2 and e.seq <= $3
    and (cardinality($4::text[]) = 0 or e.kind = any ($4) or split_part(e.kind, '.', 1) || '.*' = any ($4))
order by e.seq limit $5
