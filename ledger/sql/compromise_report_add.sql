-- A report ($1 to $9) and what became of its gifts ($10 to $12).
with report as (
    insert into ledger.compromise_reports (id, org_id, at, since, author, detail, gifts, keys_revoked, case_id)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9) returning id
)
insert into ledger.compromised_gifts (report_id, transfer_id, was, became)
select report.id, g.* from report, unnest($10::text[], $11::text[], $12::text[]) as g
