-- What became known that may change how a waiting gift is judged. Triggers write it in the transaction of the act itself,
-- so that nobody who makes news can forget to tell; whoever keeps waiting gifts takes it from here and deletes it.
create table detector.news (
    id bigint generated always as identity primary key,
    what text collate "C" not null,
    kind text collate "C" not null check (kind in ('everything', 'gift', 'org', 'ip', 'device', 'domain', 'root')),
    value text collate "C",
    at timestamptz not null default clock_timestamp(),
    horizon xid8,
    constraint news_names_what_it_touches check ((kind = 'everything') = (value is null))
);
comment on table detector.news is
    'what happened (label, list, policy, model, identity, …), and which gifts it may touch: all, or those that name value. '
    'horizon is the number of the first transaction that noticed the row: whoever judged without knowing has a smaller '
    'one, and has ended once none smaller runs.';

-- A label of fraud touches what shares a party, an address or a device with its gift; a good one makes nothing stricter.
create function detector.news_of_labels() returns trigger language plpgsql as $$
begin
    insert into detector.news (what, kind, value)
    select distinct 'label', key.kind, key.value
    from told cross join lateral (
        values ('org', sender), ('org', recipient), ('ip', ip), ('device', device)
    ) as key (kind, value)
    where told.fraud and key.value is not null;
    return null;
end $$;
create trigger labels_are_news after insert on detector.labels
    referencing new table as told for each statement execute function detector.news_of_labels();

-- On the block list, or off the allow list. A gift of our own never names a means of payment.
create function detector.news_of_lists() returns trigger language plpgsql as $$
begin
    insert into detector.news (what, kind, value) values ('list', new.kind, new.value);
    return null;
end $$;
create trigger list_entries_are_news after insert on detector.list_entries for each row
    when (new.list = 'block' and new.kind <> 'fingerprint') execute function detector.news_of_lists();
create trigger list_removals_are_news after update on detector.list_entries for each row
    when (new.list = 'allow' and new.kind <> 'fingerprint' and old.removed_at is null and new.removed_at is not null)
    execute function detector.news_of_lists();

create function detector.news_of_all() returns trigger language plpgsql as $$
begin
    insert into detector.news (what, kind) values (tg_argv[0], 'everything');
    return null;
end $$;
create trigger activations_are_news after insert on detector.activations
    for each statement execute function detector.news_of_all('policy');
create trigger promotions_are_news after insert on detector.promotions for each row
    when (new.role = 'champion') execute function detector.news_of_all('model');

-- A policy may name an artifact: the newest of that name judges from the moment that it is added. A policy that names it
-- and is activated meanwhile is news of its own, which is not taken up before this transaction has ended.
create function detector.news_of_models() returns trigger language plpgsql as $$
begin
    if exists (
        select from detector.policies p
        where p.generation = (select generation from detector.activations order by id desc limit 1)
          and (strpos(p.text, new.name) > 0 or strpos(p.text, new.sha256) > 0)
    ) then
        insert into detector.news (what, kind) values ('model', 'everything');
    end if;
    return null;
end $$;
create trigger models_are_news after insert on detector.models for each row execute function detector.news_of_models();
