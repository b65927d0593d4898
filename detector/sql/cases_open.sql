insert into detector.cases (id, kind, opened_at) select * from unnest($1::text[], $2::text[], $3::timestamptz[])
