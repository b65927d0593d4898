-- A held gift that was never judged goes on from $2 by its first true approval: $3 the decision, $4 its payload's hash.
update ledger.transfers set status = 'pending', version = version + 1, reason = null, hold_until = null, lock_left_s = null,
    settle_at = $2::timestamptz + lock_left_s * interval '1 second',
    settle_decision_id = $3, settle_verdict = 'approve', settle_hash = $4
where id = $1 and status = 'held'
