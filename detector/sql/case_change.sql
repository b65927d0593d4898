-- Who works on case $1: claimed by, assigned to, escalated.
update detector.cases set version = version + 1, claimed_by = $2, claimed_until = case when $2::text is not null then claimed_until end,
    assigned_to = $3, escalated = $4
where id = $1 returning *, clock_timestamp() as now
