-- The next gifts to be judged again, which nobody else is judging.
delete from ledger.relooks where id = (
    select id from ledger.relooks order by size, id limit 1 for update skip locked)
returning id, what, gifts
