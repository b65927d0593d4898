-- What analysts saw against gifts that they released: reasons that hold them no more.
select g.gift_id, g.reasons, r.id as ruling from detector.ruling_gifts g join detector.rulings r on r.id = g.ruling_id
where g.gift_id = any($1::text[]) and r.act = 'release' and r.status = 'done' order by r.at
