-- Rulings that name one of the decisions $1.
select r.*, g.gift_id from detector.rulings r join detector.ruling_gifts g on g.ruling_id = r.id
where g.decision_id = any($1::text[]) order by r.at
