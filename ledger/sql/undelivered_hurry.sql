-- It takes events again: whatever waits is due.
update ledger.undelivered set next_at = $2 where endpoint_id = $1 and next_at > $2
