-- Casework: cases, the gifts in them, rulings and notes. A case's own columns sum up its gifts, so that a queue of many
-- cases is read without them; detector.recount_cases keeps the two together.
create table detector.cases (
    id text collate "C" primary key,
    kind text collate "C" not null check (kind in ('hold', 'sample')),
    version integer not null default 1,
    opened_at timestamptz not null,
    gifts integer not null default 0,
    waiting integer not null default 0,
    amount bigint not null default 0,
    at_risk bigint not null default 0,
    expected_loss bigint not null default 0,
    score double precision check (score between 0 and 1),
    deadline timestamptz,
    senders text[] not null default '{}',
    recipients text[] not null default '{}',
    reasons text[] not null default '{}',
    claimed_by text collate "C",
    claimed_until timestamptz,
    assigned_to text collate "C",
    escalated boolean not null default false,
    proposed boolean not null default false,
    ended_at timestamptz,
    merged_into text collate "C" references detector.cases,
    check ((claimed_by is null) = (claimed_until is null)),
    constraint ended_cases_are_nobodys check (ended_at is null or (claimed_by is null and waiting = 0)),
    constraint gathered_cases_ended check (merged_into is null or (ended_at is not null and merged_into <> id))
) with (fillfactor = 70);
comment on table detector.cases is
    'An analyst''s file on held gifts. version moves with every change; a claim counts until claimed_until; merged_into names the '
    'case that its gifts were gathered into.';
create index cases_open on detector.cases (id) where ended_at is null;
create index cases_ended on detector.cases (ended_at desc) where ended_at is not null;
create index cases_merged on detector.cases (merged_into) where merged_into is not null;
create index cases_claimed on detector.cases (claimed_until) where claimed_by is not null;

-- case_gifts and case_keys refer to cases, which are never deleted; a foreign key would be checked in the gate's commit, by a
-- plan of its own from when the tables were empty.
create table detector.case_gifts (
    decision_id text collate "C" primary key,
    case_id text collate "C" not null,
    kind text collate "C" not null check (kind in ('hold', 'sample')),
    gift_id text collate "C" not null,
    sender text collate "C" not null,
    recipient text collate "C" not null,
    amount bigint not null check (amount > 0),
    ip text collate "C",
    device text collate "C",
    at timestamptz not null,
    verdict text collate "C" not null,
    reasons text[] not null,
    score double precision,
    deadline timestamptz,
    standing text collate "C" not null default 'waiting' check (standing in (
        'waiting', 'released', 'blocked', 'returned', 'cancelled', 'settled', 'lapsed')),
    ruling text collate "C",
    left_at timestamptz,
    check ((standing = 'waiting') = (left_at is null))
) with (fillfactor = 80);
comment on table detector.case_gifts is
    'One gift in a case, by the decision that brought it there: a gift that was released and is held again comes again.';
create unique index case_gifts_waiting on detector.case_gifts (gift_id, kind) where standing = 'waiting';
create index case_gifts_case on detector.case_gifts (case_id, at);
create index case_gifts_gift on detector.case_gifts (gift_id);

create table detector.case_keys (
    key text collate "C",
    case_id text collate "C" not null,
    at timestamptz not null,
    primary key (key, case_id)
);
comment on table detector.case_keys is
    'What the gifts of cases that have not ended share: orgs, addresses, devices, each with its newest gift''s moment.';
create index case_keys_case on detector.case_keys (case_id);

create table detector.rulings (
    id text collate "C" primary key,
    case_id text collate "C" not null references detector.cases,
    act text collate "C" not null check (act in ('release', 'block', 'return', 'freeze')),
    amount bigint not null check (amount >= 0),
    counted bigint not null check (counted >= amount),
    four_eyes bigint not null,
    why text not null,
    orgs text[] not null default '{}',
    status text collate "C" not null check (status in ('done', 'proposed', 'refused', 'lapsed')),
    author text collate "C" not null,
    at timestamptz not null default clock_timestamp(),
    deadline timestamptz,
    second text collate "C",
    second_at timestamptz,
    second_why text,
    constraint two_people check (second is null or lower(second) <> lower(author)),
    constraint large_rulings_take_two check (status <> 'done' or act = 'freeze' or counted < four_eyes or second is not null),
    check ((second is null) = (second_at is null)),
    check (status <> 'refused' or second is not null),
    check (status not in ('proposed', 'lapsed') or second is null)
);
comment on column detector.rulings.counted is
    'The amount that four_eyes is held against: this ruling''s gifts, and those that its author ruled on alone in this case before.';
create index rulings_case on detector.rulings (case_id, at);
create index rulings_proposed on detector.rulings (deadline) where status = 'proposed';

create table detector.ruling_gifts (
    ruling_id text collate "C" references detector.rulings,
    decision_id text collate "C" references detector.case_gifts,
    gift_id text collate "C" not null,
    reasons text[] not null,
    primary key (ruling_id, decision_id)
);
comment on column detector.ruling_gifts.reasons is
    'What the analyst saw against the gift. Once it is released, these hold it no more.';
create index ruling_gifts_gift on detector.ruling_gifts (gift_id);
create index ruling_gifts_decision on detector.ruling_gifts (decision_id);

create table detector.case_notes (
    id bigint generated always as identity primary key,
    case_id text collate "C" not null references detector.cases,
    at timestamptz not null default clock_timestamp(),
    author text not null,
    text text not null
);
create index case_notes_case on detector.case_notes (case_id, id);

-- Law 3 for rulings: a gift leaves its case once; what brought it there never changes.
create function detector.judge_standing() returns trigger language plpgsql as $$
begin
    if old.standing <> 'waiting' and (new.standing, new.ruling, new.left_at) is distinct from (old.standing, old.ruling, old.left_at) then
        raise exception 'gift % left its case as % on %', old.gift_id, old.standing, old.left_at
            using errcode = 'check_violation', constraint = 'gifts_leave_once';
    end if;
    if (new.decision_id, new.kind, new.gift_id, new.sender, new.recipient, new.amount, new.ip, new.device, new.at, new.verdict,
        new.reasons, new.score, new.deadline)
        is distinct from
       (old.decision_id, old.kind, old.gift_id, old.sender, old.recipient, old.amount, old.ip, old.device, old.at, old.verdict,
        old.reasons, old.score, old.deadline) then
        raise exception 'gift %: what brought it to its case never changes', old.gift_id
            using errcode = 'check_violation', constraint = 'case_gifts_keep_their_decision';
    end if;
    return new;
end $$;
create trigger case_gifts_leave_once before update on detector.case_gifts
    for each row execute function detector.judge_standing();

-- A ruling is done at once, or proposed and answered once; its words and gifts never change.
create function detector.judge_ruling() returns trigger language plpgsql as $$
begin
    if old.status <> 'proposed' or new.status = 'proposed' then
        raise exception 'ruling % was % already', old.id, old.status
            using errcode = 'check_violation', constraint = 'rulings_are_answered_once';
    end if;
    if (new.id, new.case_id, new.act, new.amount, new.counted, new.four_eyes, new.why, new.orgs, new.author, new.at, new.deadline)
        is distinct from
       (old.id, old.case_id, old.act, old.amount, old.counted, old.four_eyes, old.why, old.orgs, old.author, old.at, old.deadline) then
        raise exception 'ruling %: what was proposed never changes', old.id
            using errcode = 'check_violation', constraint = 'rulings_keep_their_words';
    end if;
    return new;
end $$;
create trigger rulings_step before update on detector.rulings
    for each row execute function detector.judge_ruling();
create trigger rulings_kept before delete or truncate on detector.rulings
    for each statement execute function detector.refuse_change();
create trigger ruling_gifts_append_only before update or delete or truncate on detector.ruling_gifts
    for each statement execute function detector.refuse_change();
create trigger case_notes_append_only before update or delete or truncate on detector.case_notes
    for each statement execute function detector.refuse_change();
create trigger case_gifts_kept before delete or truncate on detector.case_gifts
    for each statement execute function detector.refuse_change();
create trigger cases_kept before delete or truncate on detector.cases
    for each statement execute function detector.refuse_change();

-- Whoever touches more than one case comes through here, one at a time, and locks the rows in id order; so those that touch
-- one case each, and the next openers, never wait in a circle. Then, in a fresh snapshot: which cases share the keys.
create function detector.lock_cases(wanted text[], leaving text[], since timestamptz)
returns table (key text, at timestamptz, case_id text, opened_at timestamptz, gifts integer, busy boolean)
language plpgsql set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
-- By index alone, and in this order (which is what the limits are for): a plan made while the tables are young would read
-- them whole once they are not.
declare
    near text[];
begin
    perform pg_advisory_xact_lock(4471860392154873021);
    near := array(
        select k.case_id from unnest(wanted) as w (key) cross join lateral (
            select * from detector.case_keys k where k.key = w.key) k
        union
        select g.case_id from unnest(leaving) as l (gift) cross join lateral (
            select * from detector.case_gifts g where g.gift_id = l.gift and g.standing = 'waiting') g);
    perform from detector.cases c where c.id = any(near) and c.ended_at is null order by c.id for no key update;
    return query
    select k.key, k.at, c.id, c.opened_at, c.gifts, c.proposed or coalesce(c.claimed_until > clock_timestamp(), false)
    from unnest(wanted) as w (key)
    cross join lateral (select * from detector.case_keys k where k.key = w.key and k.at > since limit 1000) k
    cross join lateral (select * from detector.cases c where c.id = k.case_id and c.ended_at is null limit 1) c;
end $$;

-- Gather cases into others, one each: their gifts and keys move, their rulings and notes stay theirs.
create function detector.merge_cases(olds text[], news text[], now timestamptz) returns void
language plpgsql set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
begin
    update detector.case_gifts g set case_id = p.new from unnest(olds, news) as p (old, new) where g.case_id = p.old;
    with gone as (
        delete from detector.case_keys k using unnest(olds, news) as p (old, new) where k.case_id = p.old
        returning k.key, p.new, k.at
    )
    insert into detector.case_keys as k (key, case_id, at) select gone.key, gone.new, max(gone.at) from gone group by 1, 2
    on conflict (key, case_id) do update set at = greatest(k.at, excluded.at);
    update detector.cases c set ended_at = merge_cases.now, merged_into = p.new, version = c.version + 1, waiting = 0,
        at_risk = 0, expected_loss = 0, deadline = null, claimed_by = null, claimed_until = null
    from unnest(olds, news) as p (old, new) where c.id = p.old;
end $$;

-- Sum up cases from their gifts; one in which nothing waits any more ends. Returns those that ended by this.
create function detector.recount_cases(ids text[], now timestamptz) returns setof text
language plpgsql set enable_seqscan = off as $$
declare
    over text[];
begin
    with sums as (
        select g.case_id, count(distinct g.gift_id) as gifts, count(*) filter (where standing = 'waiting') as waiting,
            sum(g.amount)::bigint as amount,
            coalesce(sum(g.amount) filter (where standing = 'waiting'), 0)::bigint as at_risk,
            coalesce(sum(g.amount * coalesce(g.score, 0.5)) filter (where standing = 'waiting'), 0)::bigint as expected_loss,
            max(g.score) as score, min(g.deadline) filter (where standing = 'waiting') as deadline,
            array_agg(distinct g.sender order by g.sender) as senders,
            array_agg(distinct g.recipient order by g.recipient) as recipients
        from detector.case_gifts g where g.case_id = any(ids) group by g.case_id
    ), words as (
        select g.case_id, array_agg(distinct r order by r) as reasons
        from detector.case_gifts g cross join unnest(g.reasons) r where g.case_id = any(ids) group by g.case_id
    )
    update detector.cases c set version = c.version + 1, gifts = s.gifts, waiting = s.waiting, amount = s.amount,
        at_risk = s.at_risk, expected_loss = s.expected_loss, score = s.score, deadline = s.deadline,
        senders = s.senders, recipients = s.recipients, reasons = coalesce(w.reasons, '{}'),
        proposed = exists (select from detector.rulings r where r.case_id = c.id and r.status = 'proposed'),
        ended_at = case when s.waiting = 0 then now end,
        claimed_by = case when s.waiting > 0 then c.claimed_by end,
        claimed_until = case when s.waiting > 0 then c.claimed_until end
    from sums s left join words w using (case_id)
    where c.id = s.case_id and c.ended_at is null;
    select array_agg(c.id) into over from detector.cases c where c.id = any(ids) and c.ended_at is not null and c.merged_into is null;
    delete from detector.case_keys k where k.case_id = any(over);
    return query select unnest(over);
end $$;
