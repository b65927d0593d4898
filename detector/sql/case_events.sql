-- What was done at the desk to a case and its gifts ($1), in order; how their transfers went is the ledger's to tell.
select seq, at, kind, subject, actor, body from log.events
where subject = any($1::text[]) and kind not like 'transfer.%' order by seq
