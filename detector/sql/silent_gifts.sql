-- Gifts that may be held for silence alone and that nobody has in hand, from ($1, $2) on, $3 at most.
select g.at, g.gift_id from detector.case_gifts g
join detector.cases c on c.id = g.case_id
where g.standing = 'waiting' and g.kind = 'hold' and detector.maybe_silent(g.reasons)
    and ($1::timestamptz is null or (g.at, g.gift_id) > ($1, $2::text))
    and exists (select from detector.decisions d where d.id = g.decision_id and detector.silent(d.hits))
    and coalesce(c.claimed_until <= clock_timestamp(), true)
    and not exists (select from detector.ruling_gifts r where r.gift_id = g.gift_id and r.decision_id = g.decision_id)
order by g.at, g.gift_id limit $3
