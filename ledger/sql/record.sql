-- Everything a batch changes, in one statement; the entries' trigger posts them to the balances at its end.
-- $1-$5 answers, $6-$17 transfers, $18-$23 the slices they reserve, $24 the lock and $25 a hold in seconds.
with kept as (
    insert into ledger.answers (org_id, key, body_hash, status, body)
    select * from unnest($1::text[], $2::text[], $3::bytea[], $4::smallint[], $5::bytea[])
), opened as (
    insert into ledger.transfers (
        id, sender, recipient, amount, note, payload_hash, status, created_at, settle_at, lock_left_s, hold_until,
        decision_id, ip, device, sender_available, ended_at, reason)
    select id, sender, recipient, amount, note, payload_hash, status, at,
        case when status = 'pending' then at + $24::integer * interval '1 second' end,
        case when status = 'held' then $24::integer end,
        case when status = 'held' then at + $25::integer * interval '1 second' end,
        decision_id, ip, device, sender_available,
        case when status = 'blocked' then at end,
        case when status = 'blocked' then 'blocked' end
    from (
        select *, 'epoch'::timestamptz + at_us * interval '1 microsecond' as at
        from unnest($6::text[], $7::text[], $8::text[], $9::bigint[], $10::text[], $11::bytea[], $12::text[],
            $13::bigint[], $14::text[], $15::text[], $16::text[], $17::bigint[])
            as t (id, sender, recipient, amount, note, payload_hash, status, at_us, decision_id, ip, device,
                sender_available)
    ) t
)
insert into ledger.entries (posting_id, line, kind, at, org_id, grant_id, account, amount)
select transfer_id || '/reserve', 2 * s.slice + leg.line,
    'reserve', 'epoch'::timestamptz + at_us * interval '1 microsecond', org_id, grant_id, leg.account, leg.sign * amount
from unnest($18::text[], $19::text[], $20::text[], $21::bigint[], $22::bigint[], $23::smallint[])
    as s (transfer_id, org_id, grant_id, amount, at_us, slice)
cross join (values (0, 'available', -1), (1, 'reserved', 1)) as leg (line, account, sign)
