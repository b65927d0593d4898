-- Note what became known of gifts, later than all that is on record of the keys locked; $1 gifts, $2 fraud, $3 sources,
-- $4 author, $5 and $6 the roles and ids of the keys. The ids of labels follow the order of their gifts.
-- A gift that was not approved taught nothing, and so has no excess.
with told as (
    select greatest(clock_timestamp(), max(one.at) + interval '1 microsecond') as at
    from unnest($5::text[], $6::text[]) as k (role, id)
    cross join lateral (
        (select at from detector.decisions where k.role = 'o' and sender = k.id and look = 1 order by at desc limit 1)
        union all
        (select at from detector.decisions where k.role = 'o' and recipient = k.id and look = 1 order by at desc limit 1)
        union all
        (select at from detector.decisions
         where k.role = 'i' and ip = k.id and look = 1 and ip is not null order by at desc limit 1)
        union all
        (select at from detector.decisions
         where k.role = 'd' and device = k.id and look = 1 and device is not null order by at desc limit 1)
        union all
        (select at from detector.decisions
         where k.role = 'f' and fingerprint = k.id and look = 1 and fingerprint is not null order by at desc limit 1)
        union all
        (select label_at from detector.labels where k.role = 'o' and sender = k.id order by label_at desc limit 1)
        union all
        (select label_at from detector.labels where k.role = 'o' and recipient = k.id order by label_at desc limit 1)
    ) one
)
insert into detector.labels (
    gift_id, fraud, label_at, source, author, sender, recipient, ip, device, fingerprint, at, excess)
select t.gift, t.fraud, told.at, t.source, $4,
    d.sender, d.recipient, d.ip, d.device, d.fingerprint, d.at,
    case when d.verdict = 'approve' then coalesce((d.digest ->> 1)::integer, 0) else 0 end
from unnest($1::text[], $2::boolean[], $3::text[]) as t (gift, fraud, source)
join detector.decisions d on d.id = t.gift || '.1'
cross join told
order by d.at, d.seq
on conflict (gift_id) do nothing
returning gift_id
