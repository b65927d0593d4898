insert into ledger.identity_calls as c (provider, outcome, calls) values ($1, $2, 1)
on conflict (provider, outcome) do update set calls = c.calls + 1, last_at = clock_timestamp()
