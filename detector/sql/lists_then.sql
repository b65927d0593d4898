-- The entries that a gift of a moment ($3) met: of these kinds and values ($1, $2), added by then; what was taken off
-- later still stood.
select e.id, e.list, e.kind, e.value, e.added_at, e.expires_at, case when e.removed_at <= $3 then e.removed_at end as removed_at
from (select distinct * from unnest($1::text[], $2::text[]) as k (kind, value)) k
join detector.list_entries e on e.kind = k.kind and e.value = k.value
where e.added_at <= $3
order by e.id
