-- Keys revoked since a moment, with ten seconds of slack for revocations that were slow to commit; always one row or more.
select n.now, k.hash from (select statement_timestamp() as now) n
left join ledger.api_keys k on k.revoked_at > coalesce($1::timestamptz, n.now) - interval '10 seconds'
