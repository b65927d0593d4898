-- Held transfers $1 wait for their second look again from $2: the clock runs on from where it was stopped.
update ledger.transfers set status = 'pending', version = version + 1, reason = null, hold_until = null, lock_left_s = null,
    settle_at = $2::timestamptz + lock_left_s * interval '1 second'
where id = any($1::text[]) and status = 'held' returning id
