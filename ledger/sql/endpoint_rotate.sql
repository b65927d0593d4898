-- $3: for so many seconds the old secret signs too.
update ledger.endpoints
set old_secret = case when $3 > 0 then secret end,
    old_until = case when $3 > 0 then clock_timestamp() + $3 * interval '1 second' end,
    secret = $2
where id = $1
