with old as (select id from ledger.deliveries where at < clock_timestamp() - $1 * interval '1 second' order by at limit $2),
gone as (delete from ledger.deliveries d using old where d.id = old.id returning 1)
select count(*) from gone
