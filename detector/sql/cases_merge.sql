-- Gather cases $1 into cases $2, one each, as of $3: their gifts and keys move, their rulings and notes stay theirs.
with pairs as (
    select * from unnest($1::text[], $2::text[]) as p (old, new)
), gifts as (
    update detector.case_gifts g set case_id = p.new from pairs p where g.case_id = p.old
), gone as (
    delete from detector.case_keys k using pairs p where k.case_id = p.old returning k.key, p.new, k.at
), keys as (
    insert into detector.case_keys as k (key, case_id, at) select key, new, max(at) from gone group by key, new
    on conflict (key, case_id) do update set at = greatest(k.at, excluded.at)
)
update detector.cases c set ended_at = $3, merged_into = p.new, version = c.version + 1, waiting = 0, at_risk = 0,
    expected_loss = 0, deadline = null, claimed_by = null, claimed_until = null
from pairs p where c.id = p.old
