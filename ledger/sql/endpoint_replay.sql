-- The cursor goes back, or ahead, and whoever works on the endpoint now may not move it any more.
with gone as (delete from ledger.undelivered where endpoint_id = $1 and seq > $2),
kept as (
    select count(*) as waiting, count(*) filter (where next_at is not null and attempts > 0) as failing, min(next_at) as due_at
    from ledger.undelivered where endpoint_id = $1 and seq <= $2
)
update ledger.endpoints e
set upto = $2, lease = null, leased_until = null, not_before = null,
    waiting = kept.waiting, failing = kept.failing, due_at = kept.due_at
from kept where e.id = $1
