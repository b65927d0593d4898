select id, last_seq, hash from log.links where id = any($1::bigint[])
