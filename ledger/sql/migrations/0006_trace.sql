-- Traceable credits: a purchase is taken back through any chain of gifts, a settled gift is reversed, and the statement
-- knows of every expiry ahead of its time.
create index grants_root on ledger.grants (root_id, created_at, id);
create index grants_parent on ledger.grants (parent_id, created_at, id) where parent_id is not null;
-- What became of a grant's credits for good. None of the gate's entries is in it.
create index entries_fate on ledger.entries (grant_id)
    where account in ('consumed', 'expired', 'revoked') or kind = 'reverse';

alter table ledger.entries drop constraint entries_kind_check, add constraint entries_kind_check check (kind in (
    'issue', 'consume', 'reserve', 'settle', 'return', 'expire', 'revoke', 'reverse', 'repay'));
comment on column ledger.entries.kind is
    'reverse gives credits of a settled gift back to the grants they were cut from; repay gives the sender slices of '
    'the recipient''s other grants where those of the gift do not reach.';
alter table ledger.grants add constraint revoked_has_nothing_available check (revoked_at is null or available = 0);

create table ledger.revocations (
    id text collate "C" primary key,
    grant_id text collate "C" not null,
    org_id text collate "C" not null references ledger.orgs,
    at timestamptz not null,
    whole boolean not null,
    amount bigint not null check (amount >= 0),
    taken bigint not null check (taken >= 0),
    receivable bigint not null check (receivable >= 0),
    forgone bigint not null check (forgone >= 0),
    returned text[] not null,
    reason text,
    constraint revocation_explains_every_unit check (amount = taken + receivable + forgone)
);
create index revocations_grant on ledger.revocations (grant_id);
create unique index revocations_whole_once on ledger.revocations (grant_id) where whole;
comment on table ledger.revocations is
    'Purchases taken back, each from all grants of one root: what was unspent is taken, what was consumed is owed by the '
    'org that bought it, and what had expired, or was consumed of credits that nobody bought, is forgone. returned '
    'names the gifts that left the lock for it.';

create table ledger.receivables (
    revocation_id text collate "C" primary key references ledger.revocations,
    org_id text collate "C" not null references ledger.orgs,
    root_id text collate "C" not null,
    at timestamptz not null,
    amount bigint not null check (amount > 0)
);
create index receivables_org on ledger.receivables (org_id, revocation_id);
comment on table ledger.receivables is
    'What orgs owe the platform: credits consumed, by whomever, of purchases that were taken back from the buyer.';

create table ledger.reversals (
    id text collate "C" primary key,
    transfer_id text collate "C" not null,
    at timestamptz not null,
    asked bigint not null check (asked > 0),
    amount bigint not null check (amount between 0 and asked),
    repaid bigint not null check (repaid between 0 and amount),
    reason text not null
);
create index reversals_transfer on ledger.reversals (transfer_id);
comment on table ledger.reversals is
    'Settled gifts taken back, in whole or in part. repaid is the part of amount that came from other grants of the '
    'recipient; what was asked beyond amount was not recovered.';

create trigger revocations_append_only before update or delete or truncate on ledger.revocations
    for each statement execute function ledger.refuse_change();
create trigger receivables_append_only before update or delete or truncate on ledger.receivables
    for each statement execute function ledger.refuse_change();
create trigger reversals_append_only before update or delete or truncate on ledger.reversals
    for each statement execute function ledger.refuse_change();

-- A purchase is taken back once over: from its root, no more than it was, and owed only as far as it was consumed.
create function ledger.judge_revocation() returns trigger language plpgsql as $$
declare
    root ledger.grants;
    before record;
    consumed bigint;
begin
    select * into root from ledger.grants where id = new.grant_id for no key update;
    select coalesce(sum(amount), 0) as amount, coalesce(sum(receivable), 0) as receivable, bool_or(whole) as whole
    into before from ledger.revocations where grant_id = new.grant_id;
    select coalesce(sum(e.amount), 0) into consumed
    from ledger.grants g join ledger.entries e on e.grant_id = g.id and e.account = 'consumed'
    where g.root_id = new.grant_id;
    if root.id is null or root.parent_id is not null or root.org_id <> new.org_id or before.whole
        or before.amount + new.amount > root.amount or before.receivable + new.receivable > consumed then
        raise exception 'revocation % takes back more than there is of grant %', new.id, new.grant_id
            using errcode = 'check_violation', constraint = 'revoked_at_most_once';
    end if;
    return new;
end $$;
create trigger revocations_judged before insert on ledger.revocations
    for each row execute function ledger.judge_revocation();

-- Law 3: a transfer stays as it ended; its reversals come to what settled, together and at most.
create function ledger.judge_reversal() returns trigger language plpgsql as $$
declare
    gift ledger.transfers;
    before bigint;
begin
    select * into gift from ledger.transfers where id = new.transfer_id for update;
    select coalesce(sum(amount), 0) into before from ledger.reversals where transfer_id = new.transfer_id;
    if gift.status is distinct from 'settled' or before + new.amount > gift.settled_amount then
        raise exception 'reversal % takes back more than what settled of transfer %', new.id, new.transfer_id
            using errcode = 'check_violation', constraint = 'reversed_at_most_settled';
    end if;
    return new;
end $$;
create trigger reversals_judged before insert on ledger.reversals
    for each row execute function ledger.judge_reversal();

-- No slice is cut from what was taken back.
create or replace function ledger.slice_keeps_nature() returns trigger language plpgsql as $$
begin
    if not exists (
        select from ledger.grants p where p.id = new.parent_id and p.revoked_at is null
        and (p.origin, p.root_id, p.priority, p.expires_at, p.giftable, p.giftable_at, p.rooted_at)
          = (new.origin, new.root_id, new.priority, new.expires_at, new.giftable, new.giftable_at, new.rooted_at)
    ) then
        raise exception 'slice % differs from the grant % that it was cut from', new.id, new.parent_id
            using errcode = 'check_violation', constraint = 'slices_keep_their_nature';
    end if;
    return new;
end $$;

-- The lines of an org's statement up to a moment, also one to come: its entries, and the expiry of what will have
-- expired by then and is not written off. The line written off later is the same one, to the name; so a write-off
-- changes no statement, and whatever is used or returned before its hour is released from it.
create function ledger.lines(of_org text, until timestamptz) returns table (
    posting_id text, line smallint, kind text, at timestamptz, grant_id text, account text, amount bigint
) language sql stable as $$
    select e.posting_id, e.line, e.kind, e.at, e.grant_id, e.account, e.amount
    from ledger.entries e where e.org_id = of_org and e.at <= until
    union all
    select g.id || '/expire', leg.line, 'expire', g.expires_at, g.id, leg.account, leg.sign * g.available
    from ledger.grants g
    cross join (values (0::smallint, 'available', -1), (1::smallint, 'expired', 1)) as leg (line, account, sign)
    where g.org_id = of_org and g.open and g.available > 0 and g.expires_at <= until and g.expires_at < '9999-01-01Z'
$$;
