select gift_id, fraud, label_at, source, author from detector.labels where gift_id = any($1::text[])
