select detector.merge_cases($1::text[], $2::text[], $3::timestamptz)
