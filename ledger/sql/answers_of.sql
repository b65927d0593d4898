select a.* from unnest($1::text[], $2::text[]) as w (org_id, key)
cross join lateral (select * from ledger.answers a where a.org_id = w.org_id and a.key = w.key limit 1) a
