-- Decisions of $1 <= at < $2 that left features by the feature table $3.
select id, at, sender, recipient, ip, device, fingerprint, sender_domain, hits, features, breaker from detector.decisions
where at >= $1 and at < $2 and features is not null and feature_table = $3
order by at, seq
