-- As gather, and then, in the same statement, the keys $8 that a scorer counts on, with $9 its name for a model; but no key of
-- an org that does not exist.
select g.*, l.* from ledger.gather($1::text[], $2::text[], $3::text[], $4::text[], $5, $6, $7::timestamptz) g
cross join lateral detector.lock($8::text[], $9, case
    when cardinality(g.org_ids) = cardinality($2::text[]) then null else coalesce(g.org_ids, '{}')
end) l
