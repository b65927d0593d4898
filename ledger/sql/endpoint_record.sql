-- How a turn left an endpoint; the lease ends with it.
update ledger.endpoints e
set upto = $2, failing_since = $3, not_before = $4,
    disabled_at = coalesce(disabled_at, case when $5::text is not null then $6::timestamptz end),
    disabled_why = coalesce(disabled_why, $5),
    waiting = sums.waiting, failing = sums.failing, due_at = sums.due_at, lease = null, leased_until = null
from (
    select count(*) as waiting, count(*) filter (where next_at is not null and attempts > 0) as failing, min(next_at) as due_at
    from ledger.undelivered where endpoint_id = $1
) as sums where e.id = $1
