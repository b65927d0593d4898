-- How many gifts are to be judged again for which news.
select what, sum(cardinality(gifts))::bigint as gifts from ledger.relooks group by what order by what
