update detector.cases set claimed_by = null, claimed_until = null, version = version + 1
where id = $1 and claimed_until <= clock_timestamp()
