-- What an org could gift now, in burn order, with the nature that a slice of it keeps; as much as one posting has room for.
select * from ledger.grants
where org_id = $1 and open and available > 0 and giftable and giftable_at <= $2 and expires_at > $2
order by org_id, priority, expires_at, created_at, id
limit 16000
