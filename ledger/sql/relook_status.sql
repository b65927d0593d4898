-- What is still to be judged again, and what news waits for the end of whom.
select
    (select count(*) from detector.news) as news,
    (select min(at) from detector.news) as news_since,
    (select coalesce(sum(cardinality(gifts)), 0) from ledger.relooks)::bigint as gifts,
    (select min(at) from ledger.relooks) as gifts_since
