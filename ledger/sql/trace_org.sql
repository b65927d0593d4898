-- The grants of an org that moved last, as far back as its latest movements tell; $2 at most.
select grant_id as id from (
    select grant_id, at from ledger.entries where org_id = $1 order by at desc limit 50 * $2::integer
) e group by grant_id order by max(at) desc, grant_id limit $2
