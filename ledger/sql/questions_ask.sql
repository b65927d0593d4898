-- Another look at gifts $1 that nobody else is asking about, for $2 seconds: its number, and the facts of the first look where
-- the scorer has yet to take that one. One that goes on saying that it cannot judge is asked less and less often.
insert into ledger.questions as q (transfer_id, open, lease_until)
select id, false, clock_timestamp() + $2 * interval '1 second' from unnest($1::text[]) as w (id) order by id
on conflict (transfer_id) do update
    set look = case when q.told then q.look + 1 else 1 end,
        lease_until = clock_timestamp() + $2 * least(2 ^ greatest(q.look - 2, 0), 60) * interval '1 second'
    where q.lease_until <= clock_timestamp() and not q.open
returning transfer_id, look, case when not told then asked end as asked
