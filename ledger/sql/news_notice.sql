-- Whoever has no number yet by now, will judge knowing the news; whoever has a smaller one may not.
update detector.news set horizon = pg_current_xact_id()
where id in (select id from detector.news where horizon is null for update skip locked)
