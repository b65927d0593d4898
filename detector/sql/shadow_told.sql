-- What a challenger ($1) said beside what was decided.
select count(*) as decisions, count(s.fault) as faults,
    count(*) filter (where s.verdict <> d.verdict) as changed,
    count(*) filter (where s.verdict = 'approve' and d.verdict <> 'approve') as freed,
    count(*) filter (where s.verdict <> 'approve' and d.verdict = 'approve') as stopped,
    count(*) filter (where s.verdict = 'approve') as approve,
    count(*) filter (where s.verdict = 'hold') as hold,
    count(*) filter (where s.verdict = 'block') as block,
    avg(abs(s.score - d.score)) as apart,
    max(s.fault) as a_fault
from detector.shadow_scores s join detector.decisions d on d.id = s.decision_id
where s.sha256 = $1
