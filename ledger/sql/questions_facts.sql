-- The facts of first looks that are asked late, so that asking again is asking the same; $1 gifts, $2 what is asked.
update ledger.questions q set asked = f.asked from unnest($1::text[], $2::text[]) as f (id, asked)
where q.transfer_id = f.id and q.asked is null
