-- Transfers by id that still wait, in the order in which everybody locks them.
select * from ledger.transfers where id = any($1::text[]) and status in ('screening', 'pending', 'held') order by id for update
