select * from ledger.revocations where grant_id = $1 and whole
