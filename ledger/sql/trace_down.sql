-- What was cut from grants, one step down, oldest first.
select id from ledger.grants where parent_id = any($1::text[]) order by created_at, id limit $2
