-- Gifts of org $1 created since $2 that settled, newest first; $3 at most, and how many there are in all.
select id, count(*) over () as settled
from ledger.transfers where sender = $1 and created_at >= $2 and status = 'settled' order by id desc limit $3
