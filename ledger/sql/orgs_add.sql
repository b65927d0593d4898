-- Many orgs at once, verified as of $4 and created as of $3; one that exists stays as it is.
insert into ledger.orgs (id, identity, identity_at, created_at)
select id, $2, case when $2 <> 'none' then $4::timestamptz end, $3::timestamptz
from unnest($1::text[]) as o (id)
on conflict (id) do nothing returning *
