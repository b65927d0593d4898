-- The latest openings, newest first; $1 at most.
select * from detector.breaker_openings order by id desc limit $1
