-- Stolen accounts. An org that is reported stops sending until the platform says that it is its owner's again; then, and
-- after its keys were rotated, its gifts are held for a while. The gate reads both, and since when an identity counts.
alter table ledger.orgs add column compromised_at timestamptz, add column cool_until timestamptz;
comment on column ledger.orgs.compromised_at is
    'Since when the org counts as stolen (ledger.compromise_reports); null where it does not. Only the platform lifts it.';
comment on column ledger.orgs.cool_until is 'Until then every gift of the org is held.';

drop function ledger.gather(text[], text[], text[], text[], integer, integer, timestamptz);
create function ledger.gather(
    senders text[], parties text[], askers text[], keys text[], outlive_s integer, most integer, at timestamptz,
    out now timestamptz,
    out org_ids text[], out tiers text[], out identities text[], out frozen boolean[], out owners text[],
    out created timestamptz[], out available bigint[], out domains text[], out identified timestamptz[],
    out cautions text[],
    out grant_orgs text[], out grant_ids text[], out grant_available bigint[], out origins text[],
    out rooted timestamptz[],
    out answers ledger.answers[]
) language plpgsql as $$
begin
    perform from ledger.orgs where id = any(senders) order by id for no key update;
    now := coalesce(at, clock_timestamp());
    select array_agg(o.id), array_agg(o.tier), array_agg(o.identity), array_agg(o.frozen), array_agg(o.owner),
        array_agg(o.created_at), array_agg(o.available), array_agg(o.domain), array_agg(o.identity_at),
        array_agg(case when o.compromised_at is not null then 'compromised' when o.cool_until > gather.now then 'cool_off' end)
    into org_ids, tiers, identities, frozen, owners, created, available, domains, identified, cautions
    from ledger.orgs o where o.id = any(parties);
    select array_agg(g.org_id), array_agg(g.id), array_agg(g.available), array_agg(g.origin), array_agg(g.rooted_at)
    into grant_orgs, grant_ids, grant_available, origins, rooted
    from unnest(senders) as s (id)
    cross join lateral (
        select * from ledger.grants g
        where g.org_id = s.id and g.open and g.available > 0 and g.giftable and g.giftable_at <= gather.now
          and g.expires_at > gather.now + outlive_s * interval '1 second'
        order by g.org_id, g.priority, g.expires_at, g.created_at, g.id limit most
    ) g;
    answers := array(
        select a from unnest(askers, keys) as w (org_id, key)
        -- limit 1 keeps the planner from turning this around while the table is young and looks empty
        cross join lateral (select * from ledger.answers a where a.org_id = w.org_id and a.key = w.key limit 1) a);
end $$;

create table ledger.compromise_reports (
    id text collate "C" primary key,
    org_id text collate "C" not null references ledger.orgs,
    at timestamptz not null,
    since timestamptz not null,
    author text not null,
    detail text not null,
    gifts text collate "C" not null check (gifts in ('hold', 'return')),
    keys_revoked integer not null check (keys_revoked >= 0),
    case_id text collate "C",
    constraint claimed_no_later_than_reported check (since <= at)
);
create index compromise_reports_org on ledger.compromise_reports (org_id, at);
comment on table ledger.compromise_reports is
    'That an account was stolen, and since when, as the platform or the org itself says. case_id names the case of the '
    'gifts that were held for it, where there were any. Append-only.';

create table ledger.compromised_gifts (
    report_id text collate "C" not null references ledger.compromise_reports,
    transfer_id text collate "C" not null,
    was text collate "C" not null check (was in ('pending', 'held', 'blocked', 'settled', 'returned', 'cancelled')),
    became text collate "C" not null check (became in ('held', 'blocked', 'settled', 'returned', 'cancelled')),
    primary key (report_id, transfer_id),
    constraint reported_gifts_never_wait_unheld check (was = became or was in ('pending', 'held') and became in ('held', 'returned'))
);
comment on table ledger.compromised_gifts is 'What a report found sent since the claimed time, and what became of it. Append-only.';
-- Transfers are never deleted. A foreign key would lock a settled one after the log's head, and whoever reverses it holds it
-- while it waits for that.

create trigger compromise_reports_append_only before update or delete or truncate on ledger.compromise_reports
    for each statement execute function ledger.refuse_change();
create trigger compromised_gifts_append_only before update or delete or truncate on ledger.compromised_gifts
    for each statement execute function ledger.refuse_change();

-- An account that was reported stolen neither gives nor gets while the report stands. Whoever settles has both orgs locked.
create function ledger.judge_compromised() returns trigger language plpgsql as $$
begin
    if exists (select from ledger.orgs where id in (new.sender, new.recipient) and compromised_at is not null) then
        raise exception 'transfer %: a party of it was reported as compromised, and nothing of it settles', new.id
            using errcode = 'check_violation', constraint = 'compromised_settles_nothing';
    end if;
    return new;
end $$;
create trigger transfers_compromised before update on ledger.transfers for each row
    when (new.status = 'settled') execute function ledger.judge_compromised();

-- What waits of or to the org is judged again: also what a report does not reach itself.
create function ledger.news_of_compromise() returns trigger language plpgsql as $$
begin
    insert into detector.news (what, kind, value) values ('compromised', 'org', new.id);
    return null;
end $$;
create trigger compromised_orgs_are_news after update of compromised_at on ledger.orgs for each row
    when (old.compromised_at is null and new.compromised_at is not null) execute function ledger.news_of_compromise();
