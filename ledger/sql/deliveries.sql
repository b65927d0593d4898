-- Of one endpoint, newest first, below $2; of one event, where $3 names it; only failures where $4 says so.
select id, seq, attempt, at, outcome, status, error, latency_ms, next_at, excerpt
from ledger.deliveries
where endpoint_id = $1 and id < coalesce($2::bigint, 9223372036854775807) and ($3::bigint is null or seq = $3)
    and (not $4::boolean or outcome <> 'delivered')
order by id desc limit $5
