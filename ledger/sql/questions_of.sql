select transfer_id, org_id, key, body_hash, asked, open from ledger.questions where transfer_id = any($1::text[])
