-- Gifts $1 are answered for; $2 whether the scorer said anything of their first look.
update ledger.questions q set open = false, told = c.told, lease_until = clock_timestamp()
from unnest($1::text[], $2::boolean[]) as c (transfer_id, told) where q.transfer_id = c.transfer_id
