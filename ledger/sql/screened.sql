-- Screened transfers $1 go on as $2, pending or held, from $3: a lock of $4 seconds, a hold of $5.
update ledger.transfers t set status = s.status, version = t.version + 1,
    settle_at = case when s.status = 'pending' then $3::timestamptz + $4::integer * interval '1 second' end,
    lock_left_s = case when s.status = 'held' then $4::integer end,
    hold_until = case when s.status = 'held' then $3::timestamptz + $5::integer * interval '1 second' end
from unnest($1::text[], $2::text[]) as s (id, status)
where t.id = s.id and t.status = 'screening'
