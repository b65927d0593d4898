-- The queue as of one moment ($11, or now), most pressing first. $1 status (null: what has not ended), $2 kind, $3 sender,
-- $4 recipient, $5 reason, $6 least amount at risk, $7 least age in seconds, $8 claimed by, $9 text, $10 order,
-- $12 and $13 where the page before ended, $14 page size. Of the cases that ended, the newest ten thousand.
with clock as materialized (select coalesce($11::timestamptz, clock_timestamp()) as now), chosen as (
    select c.* from detector.cases c where c.ended_at is null and $1::text is distinct from 'ended'
    union all
    (select c.* from detector.cases c where c.ended_at is not null and $1 = 'ended' order by c.ended_at desc limit 10000)
), ranked as (
    select s.*, n.now, p.priority,
        case $10::text when 'priority' then p.priority
            when 'deadline' then -coalesce(extract(epoch from s.deadline), 1e12)::double precision
            else extract(epoch from case when s.ended_at is null then n.now - s.opened_at else s.ended_at - 'epoch' end)::double precision
        end as rank
    from chosen s cross join clock n cross join lateral (
        select s.expected_loss / 1e6::double precision
            / greatest(extract(epoch from coalesce(s.deadline, n.now + interval '24 hours') - n.now)::double precision / 3600, 1 / 60.0::double precision)
            as priority
    ) p
    where ($1 is null or $1 = 'ended' or ($1 = 'claimed') = (coalesce(s.claimed_until > n.now, false)))
        and ($2::text is null or s.kind = $2)
        and ($3::text is null or $3 = any(s.senders))
        and ($4::text is null or $4 = any(s.recipients))
        and ($5::text is null or $5 = any(s.reasons) or 'rule:' || $5 = any(s.reasons))
        and ($6::bigint is null or s.amount >= $6)
        and ($7::double precision is null or s.opened_at <= n.now - $7 * interval '1 second')
        and ($8::text is null or (s.claimed_by = $8 and s.claimed_until > n.now))
        and ($9::text is null or s.id = $9
            or position(lower($9) in lower(array_to_string(s.senders || s.recipients || s.reasons, ' '))) > 0
            or exists (select from detector.case_gifts g where g.case_id = s.id and g.gift_id = $9))
)
select * from ranked
where $12::double precision is null or rank < $12 or (rank = $12 and id > $13::text)
order by rank desc, id limit $14
