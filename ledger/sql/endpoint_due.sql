-- What waits for an endpoint and is due, each with some of what waits behind it: of each subject the $4 oldest, $3 in all, so that one
-- with many does not crowd out the others.
select e.seq, e.at, e.kind, e.subject, e.actor, e.body, u.attempts, u.first_at, true as queued, false as behind
from (
    select w.*, row_number() over (partition by w.subject order by w.seq) as place
    from ledger.undelivered w
    where w.endpoint_id = $1 and exists (
        select from ledger.undelivered h where h.endpoint_id = $1 and h.subject = w.subject and h.next_at <= $2)
) u join log.events e on e.seq = u.seq
where u.place <= $4 order by u.place, u.seq limit $3
