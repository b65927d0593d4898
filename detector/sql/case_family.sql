-- A case, and those that were gathered into it.
with recursive family as (
    select id from detector.cases where id = $1
    union
    select c.id from detector.cases c join family f on c.merged_into = f.id
)
select id from family
