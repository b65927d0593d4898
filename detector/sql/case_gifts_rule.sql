update detector.case_gifts set standing = $2, ruling = $3, left_at = $4 where decision_id = any($1::text[])
