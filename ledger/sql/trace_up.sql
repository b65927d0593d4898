-- Grants and what they were cut from, up to the purchases; the nearest $2.
with recursive up as (
    select id, parent_id from ledger.grants where id = any($1::text[])
    union
    select p.id, p.parent_id from up join ledger.grants p on p.id = up.parent_id
)
select id from up limit $2
