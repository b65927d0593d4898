insert into detector.samples (gift_id, decision_id, rate, at) select * from unnest($1::text[], $2::text[], $3::float8[], $4::timestamptz[])
