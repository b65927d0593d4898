-- A scorer on machines of its own: the gate reserves and commits (screening), asks, and records the answer in a second commit.
create table ledger.questions (
    transfer_id text collate "C" primary key,
    org_id text collate "C",
    key text collate "C",
    body_hash bytea,
    asked text,
    look smallint not null default 1,
    open boolean not null,
    told boolean not null default false,
    labelled boolean not null default false,
    ended boolean not null default false,
    lease_until timestamptz not null,
    unique (org_id, key),
    check ((org_id is null) = (key is null) and (org_id is null) = (body_hash is null)),
    check (not open or (org_id is not null and asked is not null))
);
comment on table ledger.questions is
    'What the scorer was asked of a gift. open while its first answer is awaited, under the idempotency key that the sender will be '
    'answered by; asked are the facts of the first look, so that asking again is asking the same; look is the newest look '
    'asked for; told once the scorer answered the first one; labelled and ended once it was told what became known of the gift, '
    'and of it; lease_until is when somebody else may ask.';
create index questions_open on ledger.questions (lease_until) where open;
create index questions_news on ledger.questions (transfer_id) where told and not ended;

alter table ledger.transfers drop constraint transfers_status_check, add constraint transfers_status_check check (status in (
    'screening', 'pending', 'held', 'blocked', 'settled', 'returned', 'cancelled'));
alter table ledger.transfers drop constraint ended_says_when, add constraint ended_says_when check (
    (status in ('screening', 'pending', 'held')) = (ended_at is null));
alter table ledger.transfers add constraint screening_runs_no_clock check (
    status <> 'screening' or (settle_at is null and settle_decision_id is null));
drop trigger transfers_start on ledger.transfers;
create trigger transfers_start after insert on ledger.transfers for each row
    when (new.status not in ('screening', 'pending', 'held', 'blocked') or new.version <> 1) execute function ledger.judge_start();

-- Whether a decision was recorded in this very transaction that approves exactly this payload.
create function ledger.approved_now(gift ledger.transfers, decision text, since timestamptz) returns boolean
language sql volatile as $$
    select exists (
        select from detector.decisions d
        where d.id = decision and d.verdict = 'approve' and d.at >= since
          and d.sender = gift.sender and d.recipient = gift.recipient and d.amount = gift.amount
          and d.payload_hash = gift.payload_hash and d.xmin = pg_current_xact_id()::xid)
    and gift.payload_hash = sha256(convert_to(concat_ws(
        E'\n', gift.id, gift.sender, gift.recipient, gift.amount::text, coalesce(gift.note, '')), 'UTF8'))
$$;

create or replace function ledger.judge_step() returns trigger language plpgsql as $$
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
        'screening>pending', 'screening>held', 'screening>blocked', 'screening>returned', 'screening>cancelled',
        'pending>settled', 'pending>held', 'pending>returned', 'pending>cancelled',
        'held>pending', 'held>returned', 'held>cancelled') then
        raise exception 'transfer %: no step from % (version %) to % (version %)',
            old.id, old.status, old.version, new.status, new.version
            using errcode = 'check_violation', constraint = 'transfers_end_once';
    end if;
    -- Law 5: who waits for the scorer's first answer goes on by an approval alone, recorded as it goes.
    if old.status = 'screening' and new.status = 'pending' and not ledger.approved_now(new, new.decision_id, old.created_at) then
        raise exception 'transfer % has no approval from the transaction that lets it go on', old.id
            using errcode = 'check_violation', constraint = 'silence_is_a_hold';
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

-- Whether a held gift was never judged, and nobody has it in hand: the newest decision of before this transaction says nothing but
-- silence, nor does its case (where the ledger's own reasons stand, such as a stolen account), no ruling names the gift since, and
-- nobody claims the case.
create function ledger.never_judged(gift text) returns boolean language sql volatile as $$
    select coalesce((
        select d.verdict = 'hold' and detector.silent(d.hits) and not exists (
            select from detector.ruling_gifts g where g.gift_id = gift and g.decision_id = d.id)
        from detector.decisions d
        where d.id > gift || '.' and d.id < gift || '/' and d.xmin <> pg_current_xact_id()::xid
        order by d.look desc limit 1), false)
    and exists (
        select from detector.case_gifts g join detector.cases c on c.id = g.case_id
        where g.gift_id = gift and g.kind = 'hold' and g.standing = 'waiting' and detector.maybe_silent(g.reasons)
          and coalesce(c.claimed_until <= clock_timestamp(), true))
$$;

-- Law 13 as before, and one way more: a gift that was held for silence alone goes on by its first true approval, recorded in
-- this transaction. Nobody judged it, so nothing grows milder; whatever else holds a gift is a person's to lift.
create or replace function ledger.judge_release() returns trigger language plpgsql as $$
begin
    if exists (
        select from detector.ruling_gifts g join detector.rulings r on r.id = g.ruling_id
        where g.gift_id = new.id and r.act = 'release' and r.status = 'done' and r.xmin = pg_current_xact_id()::xid
    ) then
        return new;
    end if;
    if new.settle_decision_id is distinct from old.settle_decision_id and ledger.never_judged(new.id)
        and ledger.approved_now(new, new.settle_decision_id, old.created_at) then
        return new;
    end if;
    raise exception 'transfer %: a hold is lifted by a ruling, in the transaction that rules it', new.id
        using errcode = 'check_violation', constraint = 'holds_are_lifted_by_a_ruling';
end $$;
