-- The ledger. Credits move in one way only: by inserting entries. A trigger posts them to the balances of orgs and
-- grants, whose checks refuse an overdraft; so the balances are the sums of the entries by construction.
create schema ledger;

create table ledger.orgs (
    id text collate "C" primary key check (id ~ '^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$'),
    tier text collate "C" not null default 'standard',
    identity text collate "C" not null default 'none' check (identity in ('none', 'basic', 'full')),
    identity_at timestamptz,
    frozen boolean not null default false,
    home_cell text collate "C" not null default 'home',
    owner text collate "C",
    created_at timestamptz not null,
    available bigint not null default 0 constraint org_never_overdrawn check (available >= 0),
    reserved bigint not null default 0 constraint org_reserve_never_negative check (reserved >= 0)
) with (fillfactor = 60);

create table ledger.api_keys (
    hash bytea primary key,
    name text not null,
    role text collate "C" not null,
    org_id text collate "C" references ledger.orgs,
    created_at timestamptz not null default clock_timestamp(),
    revoked_at timestamptz
);

create index api_keys_revoked on ledger.api_keys (revoked_at) where revoked_at is not null;

create table ledger.grants (
    id text collate "C" primary key,
    org_id text collate "C" not null references ledger.orgs,
    origin text collate "C" not null check (origin in ('purchase', 'promo', 'free_tier', 'gift')),
    root_id text collate "C" not null,
    parent_id text collate "C",
    transfer_id text collate "C",
    priority smallint not null check (priority between 0 and 1000),
    expires_at timestamptz not null,
    giftable boolean not null,
    giftable_at timestamptz not null,
    rooted_at timestamptz not null,
    created_at timestamptz not null,
    amount bigint not null check (amount > 0),
    available bigint not null default 0 constraint grant_never_overdrawn check (available >= 0),
    reserved bigint not null default 0 constraint grant_reserve_never_negative check (reserved >= 0),
    open boolean not null default true,
    revoked_at timestamptz,
    check (available + reserved <= amount),
    check ((parent_id is null) = (root_id = id)),
    check ((parent_id is null) = (transfer_id is null))
) with (fillfactor = 70);
comment on column ledger.grants.root_id is 'The grant that the platform issued, through any chain of gifts.';
comment on column ledger.grants.rooted_at is 'When the root grant was issued.';
create index grants_burn on ledger.grants (org_id, priority, expires_at, created_at, id) where open;
create index grants_expiry on ledger.grants (expires_at) where open and expires_at < '9999-01-01Z';

create table ledger.transfers (
    id text collate "C" primary key,
    sender text collate "C" not null,
    recipient text collate "C" not null,
    amount bigint not null check (amount > 0),
    note text,
    payload_hash bytea not null,
    status text collate "C" not null check (status in (
        'pending', 'held', 'blocked', 'settled', 'returned', 'cancelled')),
    version integer not null default 1,
    created_at timestamptz not null,
    settle_at timestamptz,
    lock_left_s integer,
    hold_until timestamptz,
    decision_id text collate "C" not null,
    ip text,
    device text,
    sender_available bigint not null,
    settle_decision_id text collate "C",
    settle_verdict text collate "C",
    settle_hash bytea,
    settled_amount bigint check (settled_amount between 0 and amount),
    ended_at timestamptz,
    reason text,
    check (sender <> recipient),
    constraint held_stops_the_clock check (
        (status = 'held') = (hold_until is not null) and (status <> 'held' or (settle_at is null and lock_left_s >= 0))),
    constraint pending_has_its_hour check (status <> 'pending' or settle_at is not null),
    constraint ended_says_when check ((status in ('pending', 'held')) = (ended_at is null)),
    constraint never_unjudged check (status <> 'settled' or (
        settle_at is not null and ended_at >= settle_at and settle_verdict is not null and settle_verdict = 'approve'
        and settle_decision_id is not null and settle_hash is not null and settle_hash = payload_hash))
) with (fillfactor = 80);
create index transfers_sender on ledger.transfers (sender, id);
create index transfers_recipient on ledger.transfers (recipient, id);
create index transfers_due on ledger.transfers (coalesce(settle_at, hold_until)) where status in ('pending', 'held');

create table ledger.entries (
    posting_id text collate "C" not null,
    line smallint not null,
    kind text collate "C" not null check (kind in (
        'issue', 'consume', 'reserve', 'settle', 'return', 'expire', 'revoke')),
    at timestamptz not null,
    org_id text collate "C" not null,
    grant_id text collate "C" not null,
    account text collate "C" not null check (account in (
        'available', 'reserved', 'issued', 'consumed', 'expired', 'revoked')),
    amount bigint not null check (amount <> 0),
    primary key (posting_id, line)
);
comment on table ledger.entries is
    'Append-only. A posting is balanced: its amounts sum to zero. available and reserved are the org''s; issued, '
    'consumed, expired and revoked are the platform''s side of that org.';
create index entries_org on ledger.entries (org_id, at);

create table ledger.answers (
    org_id text collate "C" not null,
    key text collate "C" not null,
    body_hash bytea not null,
    status smallint not null,
    body bytea not null,
    primary key (org_id, key)
);
comment on table ledger.answers is 'The first answer to every idempotency key, to the byte, for ever (law 7).';

create function ledger.post_entries() returns trigger language plpgsql as $$
declare
    unbalanced text;
    orgs bigint;
    parcels bigint;
    posted bigint;
begin
    select posting_id into unbalanced from entered group by posting_id having sum(amount) <> 0 limit 1;
    if found then
        raise exception 'posting % does not sum to zero', unbalanced
            using errcode = 'check_violation', constraint = 'posting_sums_to_zero';
    end if;
    select count(distinct org_id), count(distinct grant_id) into orgs, parcels
    from entered where account in ('available', 'reserved');
    update ledger.orgs o set available = o.available + d.available, reserved = o.reserved + d.reserved
    from (
        select org_id, coalesce(sum(amount) filter (where account = 'available'), 0)::bigint as available,
            coalesce(sum(amount) filter (where account = 'reserved'), 0)::bigint as reserved
        from entered where account in ('available', 'reserved') group by org_id
    ) d where o.id = d.org_id;
    get diagnostics posted = row_count;
    if posted <> orgs then
        raise exception 'entries name an org that does not exist'
            using errcode = 'foreign_key_violation', constraint = 'entries_org_exists';
    end if;
    update ledger.grants g set available = g.available + d.available, reserved = g.reserved + d.reserved,
        open = g.available + d.available > 0 or g.reserved + d.reserved > 0
    from (
        select grant_id, org_id, coalesce(sum(amount) filter (where account = 'available'), 0)::bigint as available,
            coalesce(sum(amount) filter (where account = 'reserved'), 0)::bigint as reserved
        from entered where account in ('available', 'reserved') group by grant_id, org_id
    ) d where g.id = d.grant_id and g.org_id = d.org_id;
    get diagnostics posted = row_count;
    if posted <> parcels then
        raise exception 'entries name a grant that does not exist or is another org''s'
            using errcode = 'foreign_key_violation', constraint = 'entries_grant_exists';
    end if;
    return null;
end $$;
create trigger entries_post after insert on ledger.entries
    referencing new table as entered for each statement execute function ledger.post_entries();

create function ledger.refuse_change() returns trigger language plpgsql as $$
begin
    raise exception '%.% is append-only: % refused', tg_table_schema, tg_table_name, lower(tg_op)
        using errcode = 'restrict_violation', constraint = tg_table_name || '_append_only';
end $$;
create trigger entries_append_only before update or delete or truncate on ledger.entries
    for each statement execute function ledger.refuse_change();
create trigger answers_append_only before update or delete or truncate on ledger.answers
    for each statement execute function ledger.refuse_change();
create trigger transfers_kept before delete or truncate on ledger.transfers
    for each statement execute function ledger.refuse_change();
create trigger grants_kept before delete or truncate on ledger.grants
    for each statement execute function ledger.refuse_change();

-- Law 9: what a grant is never changes; only its balances, its open mark and its revocation do.
create function ledger.keep_nature() returns trigger language plpgsql as $$
begin
    raise exception 'grant %: origin, root, expiry, priority, giftability and amount never change', old.id
        using errcode = 'check_violation', constraint = 'grants_keep_their_nature';
end $$;
create trigger grants_keep_their_nature before update on ledger.grants for each row
    when ((old.id, old.org_id, old.origin, old.root_id, old.parent_id, old.transfer_id, old.priority, old.expires_at,
           old.giftable, old.giftable_at, old.rooted_at, old.created_at, old.amount)
          is distinct from
          (new.id, new.org_id, new.origin, new.root_id, new.parent_id, new.transfer_id, new.priority, new.expires_at,
           new.giftable, new.giftable_at, new.rooted_at, new.created_at, new.amount))
    execute function ledger.keep_nature();

create function ledger.slice_keeps_nature() returns trigger language plpgsql as $$
begin
    if not exists (
        select from ledger.grants p where p.id = new.parent_id
        and (p.origin, p.root_id, p.priority, p.expires_at, p.giftable, p.giftable_at, p.rooted_at)
          = (new.origin, new.root_id, new.priority, new.expires_at, new.giftable, new.giftable_at, new.rooted_at)
    ) then
        raise exception 'slice % differs from the grant % that it was cut from', new.id, new.parent_id
            using errcode = 'check_violation', constraint = 'slices_keep_their_nature';
    end if;
    return new;
end $$;
create trigger slices_keep_their_nature before insert on ledger.grants for each row
    when (new.parent_id is not null) execute function ledger.slice_keeps_nature();

-- Laws 3 and 4: a transfer starts open or blocked, takes allowed steps only, and settles only on an approval that was
-- recorded in the settling transaction itself, at or after settle_at, for exactly this payload.
create function ledger.judge_start() returns trigger language plpgsql as $$
declare
    wrong ledger.transfers;
begin
    select * into wrong from opened where status not in ('pending', 'held', 'blocked') or version <> 1 limit 1;
    if found then
        raise exception 'transfer % cannot start as % (version %)', wrong.id, wrong.status, wrong.version
            using errcode = 'check_violation', constraint = 'transfers_start_unsettled';
    end if;
    return null;
end $$;
create trigger transfers_start after insert on ledger.transfers
    referencing new table as opened for each statement execute function ledger.judge_start();

-- The database's own clock, for what a statement may merely claim. Only a replay, on a database of its own, replaces it.
create function ledger.clock() returns timestamptz language sql volatile as 'select clock_timestamp()';

create function ledger.judge_step() returns trigger language plpgsql as $$
begin
    if (new.id, new.sender, new.recipient, new.amount, new.note, new.payload_hash, new.created_at, new.decision_id,
        new.ip, new.device, new.sender_available)
        is distinct from
       (old.id, old.sender, old.recipient, old.amount, old.note, old.payload_hash, old.created_at, old.decision_id,
        old.ip, old.device, old.sender_available) then
        raise exception 'transfer %: what was judged never changes', old.id
            using errcode = 'check_violation', constraint = 'transfers_keep_their_payload';
    end if;
    if new.version <> old.version + 1 or (old.status || '>' || new.status) not in (
        'pending>settled', 'pending>held', 'pending>returned', 'pending>cancelled',
        'held>pending', 'held>returned', 'held>cancelled') then
        raise exception 'transfer %: no step from % (version %) to % (version %)',
            old.id, old.status, old.version, new.status, new.version
            using errcode = 'check_violation', constraint = 'transfers_end_once';
    end if;
    if new.status = 'settled' then
        if (old.settle_at <= least(new.ended_at, ledger.clock())) is not true then
            raise exception 'transfer % may not settle before %', old.id, old.settle_at
                using errcode = 'check_violation', constraint = 'never_unjudged';
        end if;
        if not exists (
            select from detector.decisions d
            where d.id = new.settle_decision_id and d.verdict = 'approve' and d.at >= old.settle_at
              and d.sender = new.sender and d.recipient = new.recipient and d.amount = new.amount
              and d.payload_hash = new.payload_hash and d.xmin = pg_current_xact_id()::xid
        ) then
            raise exception 'transfer % has no approval from its settling transaction', old.id
                using errcode = 'check_violation', constraint = 'never_unjudged';
        end if;
        if new.payload_hash <> sha256(convert_to(concat_ws(
            E'\n', new.id, new.sender, new.recipient, new.amount::text, coalesce(new.note, '')), 'UTF8')) then
            raise exception 'transfer %: its payload is not the one that was judged', old.id
                using errcode = 'check_violation', constraint = 'never_unjudged';
        end if;
    end if;
    return new;
end $$;
create trigger transfers_step before update on ledger.transfers for each row execute function ledger.judge_step();

-- One round trip for the gate: lock the senders in id order, and only then, in fresh snapshots, read what a decision
-- needs. Grants come in burn order, at most `most` for each sender.
create type ledger.gathered as (
    now timestamptz, orgs ledger.orgs[], answers ledger.answers[], grants ledger.grants[]
);
create function ledger.gather(
    senders text[], parties text[], askers text[], keys text[], outlive_s integer, most integer, at timestamptz
) returns ledger.gathered language plpgsql as $$
declare
    found ledger.gathered;
begin
    perform from ledger.orgs where id = any(senders) order by id for no key update;
    found.now := coalesce(at, clock_timestamp());
    found.orgs := array(select o from ledger.orgs o where id = any(parties));
    found.answers := array(
        select a from unnest(askers, keys) as w (org_id, key)
        -- limit 1 keeps the planner from turning this around while the table is young and looks empty
        cross join lateral (select * from ledger.answers where org_id = w.org_id and key = w.key limit 1) a);
    found.grants := array(
        select g from unnest(senders) as s (id)
        cross join lateral (
            select * from ledger.grants
            where org_id = s.id and open and available > 0 and giftable and giftable_at <= found.now
              and expires_at > found.now + outlive_s * interval '1 second'
            order by org_id, priority, expires_at, created_at, id limit most
        ) g);
    return found;
end $$;
