-- What a gate would have locked: a party without a row has no past.
insert into detector.keys (key)
select distinct unnest(array['o:' || sender, 'o:' || recipient, 'i:' || ip, 'd:' || device]) from detector.decisions
on conflict do nothing
