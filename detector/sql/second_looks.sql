-- Later looks by verdict (reason null: all of them), and by verdict and reason.
select d.verdict, h.reason, count(distinct d.id) as gifts
from detector.decisions d
left join lateral (
    select (hit ->> 'by') || ':' || (hit ->> 'name') as reason from json_array_elements(d.hits) as hit) h on true
where d.look > 1
group by grouping sets ((d.verdict), (d.verdict, h.reason))
having grouping(h.reason) = 1 or h.reason is not null
order by d.verdict, h.reason nulls first
