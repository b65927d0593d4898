insert into detector.outcomes (decision_id, gift_id, outcome, at)
select d.id, $2, $3, $4 from detector.decisions d where d.id = $1
on conflict (gift_id, outcome) do nothing
