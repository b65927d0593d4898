-- Of each of these subjects the oldest event that waits is next.
update ledger.undelivered u set next_at = $3
where u.endpoint_id = $1 and u.next_at is null and u.seq in (
    select (select min(w.seq) from ledger.undelivered w where w.endpoint_id = $1 and w.subject = named.subject)
    from unnest($2::text[]) as named (subject))
