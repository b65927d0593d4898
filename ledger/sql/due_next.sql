select min(coalesce(settle_at, hold_until)) from ledger.transfers where status in ('pending', 'held')
