-- Approved gifts that are drawn at random for review, so that what is learned is not only what was suspected already.
create table detector.sample_salt (
    sole boolean primary key default true check (sole),
    salt bytea not null check (length(salt) = 32)
);
comment on table detector.sample_salt is
    'Secret, made once: a gift is drawn by the hash of its id keyed with it, so that whoever chooses ids cannot steer clear.';
insert into detector.sample_salt (salt)
select decode(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex');

create table detector.samples (
    gift_id text collate "C" primary key,
    decision_id text collate "C" not null unique,
    rate double precision not null check (rate > 0 and rate <= 1),
    at timestamptz not null
);
comment on table detector.samples is 'Which gifts were drawn, and at which rate: each stands for 1/rate approved gifts.';

create trigger sample_salt_kept before update or delete or truncate on detector.sample_salt
    for each statement execute function detector.refuse_change();
create trigger samples_append_only before update or delete or truncate on detector.samples
    for each statement execute function detector.refuse_change();

-- Labels from before the log: it hears of them now, so that every label has an event that tells of it.
do $$
declare
    told record;
begin
    for told in
        select array_agg(gift_id order by id) as gifts, array_agg(author order by id) as authors,
            array_agg(json_build_object('fraud', fraud, 'label_at',
                to_char(label_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), 'source', source)::text order by id) as bodies
        from detector.labels group by id / 50000 order by min(id)
    loop
        perform log.append(array_fill('label.told'::text, array[cardinality(told.gifts)]),
            told.gifts, told.authors, told.bodies);
    end loop;
end $$;
