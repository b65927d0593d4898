update ledger.orgs set identity = $2, identity_at = case when $2 <> 'none' then clock_timestamp() end
where id = $1 returning *
