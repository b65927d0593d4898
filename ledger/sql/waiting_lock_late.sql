-- The same without waiting: orgs are locked already, and whoever holds one of these may wait for an org.
select * from ledger.transfers where id = any($1::text[]) and status in ('screening', 'pending', 'held') order by id
for update skip locked
