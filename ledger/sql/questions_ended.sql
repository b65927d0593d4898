update ledger.questions set ended = true where transfer_id = any($1::text[])
