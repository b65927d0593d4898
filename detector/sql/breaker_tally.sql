-- Note what a worker judged and committed since it last told, of first looks ($1 judged, $2 blocked) and of later ones ($3, $4);
-- what no window reaches any more goes.
with gone as (
    delete from detector.breaker_tallies where ctid = any(array(
        select ctid from detector.breaker_tallies where at < clock_timestamp() - interval '2 hours' for update skip locked))
)
insert into detector.breaker_tallies (looks, judged, blocked)
select looks, judged, blocked from (values ('first', $1::bigint, $2::bigint), ('later', $3, $4)) as told (looks, judged, blocked)
where judged > 0
