update ledger.questions set told = true where transfer_id = any($1::text[]) and not told
