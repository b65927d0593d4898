-- Lock keys in order (new ones are made), and only then read the clock and the generation that judges.
with locked as (
    insert into detector.keys as k (key)
    select key from unnest($1::text[]) as wanted (key) order by key collate "C"
    on conflict (key) do update set version = k.version + 1
    returning key, version
)
select array_agg(key) as keys, array_agg(version) as versions, clock_timestamp() as now,
    (select generation from detector.activations order by id desc limit 1) as generation
from locked
