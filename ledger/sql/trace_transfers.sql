select id, sender, recipient, amount, status, ended_at from ledger.transfers where id = any($1::text[])
