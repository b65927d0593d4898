select * from ledger.grants where org_id = $1 and ($2::boolean is false or open) and ($3::text is null or id > $3)
order by id limit $4
