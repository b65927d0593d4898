select exists (select from ledger.identity_events where provider = $1 and event_id = $2)
