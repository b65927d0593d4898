-- The gifts that are being judged under these keys; $1 orgs, $2 keys.
select q.transfer_id, q.org_id, q.key, q.body_hash, q.asked
from unnest($1::text[], $2::text[]) as w (org_id, key)
join ledger.questions q on q.org_id = w.org_id and q.key = w.key and q.open
