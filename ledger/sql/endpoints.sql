select e.*, coalesce((select max(seq) from log.events), 0) as head
from ledger.endpoints e where $1::text is null or id > $1 order by id limit $2
