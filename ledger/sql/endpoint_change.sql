-- What waits is due at once where the url is another one.
with eager as (
    update ledger.undelivered u set next_at = clock_timestamp() from ledger.endpoints e
    where u.endpoint_id = $1 and e.id = $1 and e.url <> $2 and u.next_at > clock_timestamp()
)
update ledger.endpoints
set url = $2, kinds = $3, description = $4,
    due_at = case when url <> $2 then least(due_at, clock_timestamp()) else due_at end,
    not_before = case when url = $2 then not_before end
where id = $1
