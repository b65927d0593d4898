-- The grants that a gift was cut from.
select grant_id as id from ledger.entries
where posting_id = $1 || '/reserve' and account = 'reserved' order by line limit $2
