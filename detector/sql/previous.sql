-- The generation that judged before the active one, walking back over roll-backs: the latest different one.
select generation from detector.activations
where generation < (select generation from detector.activations order by id desc limit 1)
order by id desc limit 1
