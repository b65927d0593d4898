-- Everything a batch changes, in one statement; the entries' trigger posts them to the balances at its end.
with kept as (
    insert into ledger.answers (org_id, key, body_hash, status, body)
    select * from unnest($1::text[], $2::text[], $3::bytea[], $4::smallint[], $5::bytea[])
), opened as (
    insert into ledger.transfers (
        id, sender, recipient, amount, note, payload_hash, status, created_at, settle_at, lock_left_s, hold_until,
        decision_id, ip, device, sender_available, ended_at, reason)
    select id, sender, recipient, amount, note, payload_hash, status, at,
        case when status = 'pending' then at + $18::integer * interval '1 second' end,
        case when status = 'held' then $18::integer end,
        case when status = 'held' then at + $19::integer * interval '1 second' end,
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
select * from unnest($20::text[], $21::smallint[], $22::text[], $23::timestamptz[], $24::text[], $25::text[],
    $26::text[], $27::bigint[])
