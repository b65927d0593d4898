-- $1 past gifts of 30 days between the orgs of ground.make ($2 of them): the lower an org's number, the busier it is.
with drawn as (
    select n, floor($2 * power(random(), 2))::integer as a, floor($2 * power(random(), 2))::integer as b,
        floor(random() * 500)::integer as ip, floor(random() * 2000)::integer as device, random() as when,
        (1 + floor(random() * 80))::bigint * 1000000 as amount
    from generate_series(1, $1::integer) n
)
insert into detector.decisions (id, at, seq, look, sender, recipient, amount, ip, device, tier, verdict, refused, hits,
    vector, generation, payload_hash, digest)
select 'past' || n || '.1', clock_timestamp() - interval '1 minute' - d.when * interval '30 days', 0, 1,
    'org_' || lpad(a::text, 6, '0'), 'org_' || lpad(b::text, 6, '0'), amount, '10.0.' || ip / 50 || '.' || ip % 50,
    'd' || device, 'standard', case when n % 20 = 0 then 'hold' else 'approve' end, false, '[]', '[]', 1, '\x00',
    '[0,0,0,false,[],[],[],[],[],false,0]'
from drawn d where a <> b
