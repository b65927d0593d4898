-- Transfers as they stand, read and not locked.
select * from ledger.transfers where id = any($1::text[]) order by id
