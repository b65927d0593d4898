-- What counts of all that was said of an org, oldest first.
select provider, event_id, org_id, subject, level, at from ledger.identity_events
where org_id = $1 and outcome = 'applied' order by noted_at, at
