select seq, at, kind, subject, actor, body from log.events where subject = any($1::text[]) order by seq
