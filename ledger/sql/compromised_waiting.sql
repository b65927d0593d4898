-- Gifts of org $1 created since $2 that wait.
select id from ledger.transfers where sender = $1 and created_at >= $2 and status in ('pending', 'held') order by id
