-- What a process left that ended, or whose answer was lost: $1 seconds until somebody else may ask again, $2 at most, $3 whoever
-- asks at present.
update ledger.questions set lease_until = clock_timestamp() + $1 * interval '1 second'
where transfer_id in (
    select transfer_id from ledger.questions where open and ($3 or lease_until <= clock_timestamp())
    order by lease_until limit $2 for update skip locked)
returning transfer_id, asked
