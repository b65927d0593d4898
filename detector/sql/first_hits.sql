select id, at, hits from detector.decisions where id = any($1::text[]) and verdict = 'hold'
