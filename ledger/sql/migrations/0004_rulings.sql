-- Law 13, under the ledger's own feet: a hold is lifted only by a release that was ruled in the same transaction, and a
-- ruling above the four-eyes amount is done only once a second person confirmed it (detector.rulings).
create function ledger.judge_release() returns trigger language plpgsql as $$
begin
    if not exists (
        select from detector.ruling_gifts g join detector.rulings r on r.id = g.ruling_id
        where g.gift_id = new.id and r.act = 'release' and r.status = 'done' and r.xmin = pg_current_xact_id()::xid
    ) then
        raise exception 'transfer %: a hold is lifted by a ruling, in the transaction that rules it', new.id
            using errcode = 'check_violation', constraint = 'holds_are_lifted_by_a_ruling';
    end if;
    return new;
end $$;
create trigger transfers_release before update on ledger.transfers for each row
    when (old.status = 'held' and new.status = 'pending') execute function ledger.judge_release();
