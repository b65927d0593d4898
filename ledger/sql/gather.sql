select * from ledger.gather($1::text[], $2::text[], $3::text[], $4::text[], $5, $6, $7::timestamptz)
