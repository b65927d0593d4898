-- The moment before which no decision can still appear: a gate reads the clock after its locks have given its transaction
-- a number, so what is not committed yet is later than the start of the oldest numbered transaction. It sees the
-- transactions of its own database user (and of all, as a member of pg_read_all_stats).
select least(clock_timestamp(), (
    select min(xact_start) from pg_stat_activity
    where datname = current_database() and backend_xid is not null and pid <> pg_backend_pid()
))
