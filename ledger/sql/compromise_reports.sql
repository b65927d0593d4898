-- The reports of an org, newest first; $2 at most.
select r.*, (select count(*) from ledger.compromised_gifts g where g.report_id = r.id) as found
from ledger.compromise_reports r where r.org_id = $1 order by r.at desc, r.id desc limit $2
