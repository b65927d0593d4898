insert into detector.decisions (
    id, at, seq, look, sender, recipient, amount, ip, device, tier, verdict, refused, hits, vector, generation,
    model, score, retry_after_s, payload_hash
)
select id, 'epoch'::timestamptz + at_us * '1 microsecond'::interval, seq, look, sender, recipient, amount, ip, device,
    tier, verdict, refused, hits::json, vector::json, generation, model, score, retry_after_s, payload_hash
from unnest(
    $1::text[], $2::bigint[], $3::integer[], $4::smallint[], $5::text[], $6::text[], $7::bigint[], $8::text[],
    $9::text[], $10::text[], $11::text[], $12::boolean[], $13::text[], $14::text[], $15::integer[], $16::text[],
    $17::double precision[], $18::integer[], $19::bytea[]
) as d (
    id, at_us, seq, look, sender, recipient, amount, ip, device, tier, verdict, refused, hits, vector, generation,
    model, score, retry_after_s, payload_hash
)
