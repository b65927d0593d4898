insert into detector.decisions (
    id, at, seq, look, sender, recipient, amount, ip, device, tier, verdict, refused, hits, vector, score,
    retry_after_s, payload_hash, generation, model
)
select id, 'epoch'::timestamptz + at_us * '1 microsecond'::interval, seq, look, sender, recipient, amount, ip, device,
    tier, verdict, refused, hits::json, vector::json, score, retry_after_s, payload_hash, $17, $18
from unnest(
    $1::text[], $2::bigint[], $3::smallint[], $4::text[], $5::text[], $6::bigint[], $7::text[], $8::text[],
    $9::text[], $10::text[], $11::boolean[], $12::text[], $13::text[], $14::double precision[], $15::integer[],
    $16::bytea[]
) with ordinality as d (
    id, at_us, look, sender, recipient, amount, ip, device, tier, verdict, refused, hits, vector, score,
    retry_after_s, payload_hash, seq
)
