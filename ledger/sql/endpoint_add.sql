-- A new endpoint hears of what happens from now on.
insert into ledger.endpoints (id, url, kinds, description, secret, upto)
values ($1, $2, $3, $4, $5, coalesce((select max(seq) from log.events), 0))
returning url, kinds
