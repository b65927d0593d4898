-- Claim case $1 for $2, read at version $3, for $4 seconds; a lead ($5) may claim what is assigned to another.
update detector.cases set claimed_by = $2, claimed_until = clock_timestamp() + $4::integer * interval '1 second',
    version = version + 1
where id = $1 and version = $3 and ended_at is null
    and (claimed_by is null or claimed_by = $2 or claimed_until <= clock_timestamp())
    and (assigned_to is null or assigned_to = $2 or $5::boolean)
returning *, clock_timestamp() as now
