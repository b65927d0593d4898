insert into ledger.orgs (id, tier, identity, identity_at, owner, created_at, domain)
select $1, $2, $3, case when $3 <> 'none' then clock_timestamp() end, $4, coalesce($5::timestamptz, clock_timestamp()), $6
on conflict (id) do nothing returning *
