-- Gifts of the kind 'hold' that leave their cases without a ruling: $1 gifts, $2 standings, $3 when.
update detector.case_gifts g set standing = l.standing, left_at = l.at
from unnest($1::text[], $2::text[], $3::timestamptz[]) as l (gift, standing, at)
where g.gift_id = l.gift and g.standing = 'waiting' and g.kind = 'hold'
returning g.case_id, g.gift_id, g.decision_id, g.standing
