select ledger.never_judged($1)
