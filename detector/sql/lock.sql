-- Lock keys in order (new ones are made), and only then read the lists' version, the clock, the generation that judges, and
-- the artifact that answers to the name $2: 'champion', a hash, or an artifact's name (the newest of that name). The clock
-- comes after the lists, so that a decision is later than every entry that it knows.
with locked as (
    insert into detector.keys as k (key)
    select key from unnest($1::text[]) as wanted (key) order by key collate "C"
    on conflict (key) do update set version = k.version + 1
    returning key, version
)
select array_agg(key) as keys, array_agg(version) as versions, detector.lists_seen() as lists,
    clock_timestamp() as now,
    (select generation from detector.activations order by id desc limit 1) as generation,
    case when $2::text = 'champion'
        then (select sha256 from detector.promotions where role = 'champion' order by id desc limit 1)
        when $2 is not null
        then (select sha256 from detector.models where sha256 = $2 or name = $2 order by added_at desc limit 1)
    end as model
from locked
