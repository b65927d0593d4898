-- The grants that a settled gift made.
select grant_id as id from ledger.entries
where posting_id = $1 || '/settle' and account = 'available' order by line limit $2
