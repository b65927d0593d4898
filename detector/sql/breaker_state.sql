-- How the breaker stands, and what was judged in the last $1 seconds, all workers together.
select clock_timestamp() as now, b.over_at, o.id as opening, t.*
from detector.breaker b
left join detector.breaker_openings o on o.closed_at is null
cross join lateral (
    select coalesce(sum(judged) filter (where looks = 'first'), 0)::bigint as first_judged,
        coalesce(sum(blocked) filter (where looks = 'first'), 0)::bigint as first_blocked,
        coalesce(sum(judged) filter (where looks = 'later'), 0)::bigint as later_judged,
        coalesce(sum(blocked) filter (where looks = 'later'), 0)::bigint as later_blocked
    from detector.breaker_tallies where at > clock_timestamp() - make_interval(secs => $1)
) t
