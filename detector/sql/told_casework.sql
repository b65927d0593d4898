-- What the log told of notes and rulings, in order.
select seq, kind, subject, actor, body from log.events
where kind in ('case.note', 'ruling.proposed', 'ruling.done', 'ruling.confirmed', 'ruling.refused', 'ruling.lapsed')
order by seq
