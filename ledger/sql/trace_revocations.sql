select * from ledger.revocations where grant_id = any($1::text[]) order by grant_id, at, id
