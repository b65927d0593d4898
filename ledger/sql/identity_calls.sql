select provider, outcome, calls, last_at from ledger.identity_calls order by provider, outcome
