-- It goes on where it stopped: what waits is due at $2, and is tried as if for the first time.
with eager as (
    update ledger.undelivered set attempts = 0, first_at = null, next_at = $2 where endpoint_id = $1 and next_at is not null
)
update ledger.endpoints
set disabled_at = null, disabled_why = null, failing_since = null, not_before = null, failing = 0,
    due_at = case when waiting > 0 then $2::timestamptz end
where id = $1
