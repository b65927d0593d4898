-- Steps of transfers by compare-and-set on status and version, the grants they mint and the entries they post. A hold stops
-- the clock with what is left of it, rounded up: a released gift waits no shorter than it was to.
with minted as (
    insert into ledger.grants (
        id, org_id, origin, root_id, parent_id, transfer_id, priority, expires_at, giftable, giftable_at, rooted_at,
        created_at, amount)
    select * from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::smallint[],
        $8::timestamptz[], $9::boolean[], $10::timestamptz[], $11::timestamptz[], $12::timestamptz[], $13::bigint[])
), stepped as (
    update ledger.transfers t set status = s.status, version = t.version + 1, reason = s.reason,
        ended_at = case when s.status = 'held' then null else s.at end,
        settle_at = case when s.status = 'held' then null else t.settle_at end,
        lock_left_s = case when s.status = 'held'
            then greatest(0, ceil(extract(epoch from t.settle_at - s.at)))::integer end,
        hold_until = case when s.status = 'held' then s.at + $32::integer * interval '1 second' end,
        settle_decision_id = coalesce(s.decision_id, t.settle_decision_id),
        settle_verdict = coalesce(s.verdict, t.settle_verdict), settle_hash = coalesce(s.hash, t.settle_hash),
        settled_amount = s.settled_amount
    from unnest($14::text[], $15::text[], $16::integer[], $17::text[], $18::text[], $19::timestamptz[], $20::text[],
        $21::text[], $22::bytea[], $23::bigint[])
        as s (id, was, version, status, reason, at, decision_id, verdict, hash, settled_amount)
    where t.id = s.id and t.status = s.was and t.version = s.version
    returning t.id
), posted as (
    insert into ledger.entries (posting_id, line, kind, at, org_id, grant_id, account, amount)
    select * from unnest($24::text[], $25::smallint[], $26::text[], $27::timestamptz[], $28::text[], $29::text[],
        $30::text[], $31::bigint[])
)
select count(*) from stepped
