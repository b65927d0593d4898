update ledger.questions set labelled = true where transfer_id = any($1::text[])
