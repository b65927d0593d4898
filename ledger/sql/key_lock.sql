-- Whether nobody else runs under this key now; until the end of the transaction nobody will.
select pg_try_advisory_xact_lock(hashtextextended($1::text || E'\n' || $2::text, 0))
