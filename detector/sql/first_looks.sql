select id, at, seq, features, feature_table from detector.decisions where id = any($1::text[])
