insert into ledger.identity_events (provider, event_id, org_id, subject, level, at, outcome)
values ($1, $2, $3, $4, $5, $6, $7)
