select e.*, coalesce((select max(seq) from log.events), 0) as head from ledger.endpoints e where id = $1
