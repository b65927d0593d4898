-- Waiting gifts that news may touch are judged again. The ledger's own news joins the detector's; what is to be done
-- stands in a table, so that any number of workers share it and none is lost when one dies.
create table ledger.relooks (
    id bigint generated always as identity primary key,
    what text collate "C" not null,
    whole boolean not null,
    size integer not null check (size > 0),
    gifts text[] not null check (cardinality(gifts) > 0),
    at timestamptz not null default clock_timestamp()
);
comment on table ledger.relooks is
    'Gifts to be judged again together, and the news that asks for it. size is how many gifts that news touches in all: '
    'small news goes first. whole: it touches everything. A row is deleted in the transaction that judges its gifts.';
create index relooks_next on ledger.relooks (size, id);

-- The one index that this costs the gate: gifts come in order of time, so that each goes to the end of it. What names an
-- org, an address or a device is found by the detector's indexes of decisions, from the oldest gift that waits on.
create index transfers_pending on ledger.transfers (created_at) where status = 'pending';
create index orgs_domain on ledger.orgs (reverse(rtrim(lower(domain), '.'))) where domain is not null;

create function ledger.news_of_orgs() returns trigger language plpgsql as $$
begin
    insert into detector.news (what, kind, value) values (
        case when old.identity is distinct from new.identity then 'identity'
            when new.frozen and not old.frozen then 'frozen' else 'org' end, 'org', new.id);
    return null;
end $$;
-- Thawing an org makes nothing stricter. A posting names none of these columns, and so does not come here.
create trigger orgs_are_news after update of identity, identity_at, frozen, owner, tier, domain on ledger.orgs for each row
    when ((old.identity, old.owner, old.tier, old.domain) is distinct from (new.identity, new.owner, new.tier, new.domain)
        or (new.frozen and not old.frozen) or new.identity_at < old.identity_at)
    execute function ledger.news_of_orgs();

create function ledger.news_of_revocations() returns trigger language plpgsql as $$
begin
    insert into detector.news (what, kind, value) values ('revocation', 'root', new.grant_id);
    return null;
end $$;
create trigger revocations_are_news after insert on ledger.revocations
    for each row execute function ledger.news_of_revocations();

-- The gifts that wait approved and that news of a kind may touch, each with its sender: by indexes alone, whatever the
-- planner believes of young tables.
create function ledger.touched(news_kind text, news_value text) returns table (gift text, sender text)
language plpgsql stable
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set jit = off as $$
declare
    oldest timestamptz := (select min(created_at) from ledger.transfers where status = 'pending');
    backwards text := reverse(rtrim(lower(news_value), '.'));
begin
    if oldest is null then
        return;
    elsif news_kind = 'everything' then
        return query select t.id, t.sender from ledger.transfers t where t.status = 'pending' order by t.created_at;
    elsif news_kind = 'gift' then
        return query select t.id, t.sender from ledger.transfers t where t.id = news_value and t.status = 'pending';
    elsif news_kind = 'domain' then
        return query
        select found.gift, found.sender from ledger.orgs o cross join lateral ledger.touched('org', o.id) as found
        where o.domain is not null and (reverse(rtrim(lower(o.domain), '.')) = backwards
            or (reverse(rtrim(lower(o.domain), '.')) > backwards || '.'
                and reverse(rtrim(lower(o.domain), '.')) < backwards || '/'));
    elsif news_kind = 'root' then
        return query
        select found.gift, found.sender
        from (select distinct g.org_id from ledger.grants g where g.root_id = news_value and g.open and g.reserved > 0) o
        cross join lateral ledger.touched('org', o.org_id) as found
        where found.sender = o.org_id and exists (
            select from ledger.entries e join ledger.grants g on g.id = e.grant_id
            where e.posting_id = found.gift || '/reserve' and e.account = 'reserved' and g.root_id = news_value);
    else
        return query
        select t.id, t.sender
        from (
            select d.id from detector.decisions d
            where news_kind = 'org' and d.sender = news_value and d.at >= oldest and d.look = 1
            union all
            select d.id from detector.decisions d
            where news_kind = 'org' and d.recipient = news_value and d.at >= oldest and d.look = 1
            union all
            select d.id from detector.decisions d
            where news_kind = 'ip' and d.ip = news_value and d.at >= oldest and d.look = 1 and d.ip is not null
            union all
            select d.id from detector.decisions d
            where news_kind = 'device' and d.device = news_value and d.at >= oldest and d.look = 1
                and d.device is not null
        ) first
        join ledger.transfers t on t.id = left(first.id, -2)
        where t.status = 'pending';
    end if;
end $$;
