-- What is still to be judged again; and where news was noticed and has to wait, the oldest writer that may not know it.
-- Of other users' transactions, members of pg_read_all_stats alone are told.
select
    (select count(*) from detector.news) as news,
    (select min(at) from detector.news) as news_since,
    (select coalesce(sum(cardinality(gifts)), 0) from ledger.relooks)::bigint as gifts,
    (select min(at) from ledger.relooks) as gifts_since,
    writer.pid, writer.xact_start as writing_since
from (values (1)) as one
left join lateral (
    select pid, xact_start from pg_stat_activity
    where backend_xid is not null and pid <> pg_backend_pid()
        and exists (select from detector.news where horizon > pg_snapshot_xmin(pg_current_snapshot()))
    order by xact_start limit 1
) writer on true
