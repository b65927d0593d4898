-- One recorded decision with all that it can be taken again from, and its gift's first look where it is a later one.
select d.id, d.at, d.seq, d.look, d.sender, d.recipient, d.amount, d.ip, d.device, d.tier, d.fingerprint, d.verdict,
    d.refused, d.hits, d.vector, d.generation, d.model, d.score, d.retry_after_s, d.payload_hash, d.features,
    d.feature_table, d.sender_domain, d.recipient_domain, d.breaker
from detector.decisions d
where d.id = any($1::text[])
order by d.look
