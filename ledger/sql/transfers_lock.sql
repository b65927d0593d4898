-- Lock transfers by id; a ruling takes no other locks before these.
select * from ledger.transfers where id = any($1::text[]) order by id for update
