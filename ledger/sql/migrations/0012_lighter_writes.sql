-- No query asks for rows by what these hold, so sampling it for the planner, which growing tables have done to them again and
-- again, buys nothing: of all that PostgreSQL does while gifts pour in, it was the twentieth to the seventh part.
alter table ledger.answers
    alter column body_hash set statistics 0,
    alter column status set statistics 0,
    alter column body set statistics 0;
alter table ledger.transfers
    alter column amount set statistics 0,
    alter column note set statistics 0,
    alter column payload_hash set statistics 0,
    alter column version set statistics 0,
    alter column lock_left_s set statistics 0,
    alter column decision_id set statistics 0,
    alter column sender_available set statistics 0,
    alter column settle_decision_id set statistics 0,
    alter column settle_verdict set statistics 0,
    alter column settle_hash set statistics 0,
    alter column settled_amount set statistics 0,
    alter column reason set statistics 0;
alter table ledger.entries
    alter column line set statistics 0,
    alter column amount set statistics 0;

-- Of what is asked by, here and in the tables of the detector and the log that grow alike, a tenth of the usual sample tells
-- all that a plan depends on: that the index is the way.
do $$
declare
    one record;
begin
    for one in
        select attrelid::regclass as in_table, attname from pg_attribute
        where attrelid in (
                'ledger.answers'::regclass, 'ledger.transfers'::regclass, 'ledger.entries'::regclass,
                'detector.decisions'::regclass, 'log.events'::regclass
            )
            and attnum > 0 and not attisdropped and coalesce(attstattarget, -1) = -1
    loop
        execute format('alter table %s alter column %I set statistics 10', one.in_table, one.attname);
    end loop;
end $$;

-- Law 9 as before; but a statement that names none of these columns is not asked row by row whether it changed one. That was
-- every statement of the gate.
drop trigger grants_keep_their_nature on ledger.grants;
create trigger grants_keep_their_nature
    before update of id, org_id, origin, root_id, parent_id, transfer_id, priority, expires_at, giftable, giftable_at, rooted_at,
        created_at, amount on ledger.grants
    for each row
    when ((old.id, old.org_id, old.origin, old.root_id, old.parent_id, old.transfer_id, old.priority, old.expires_at,
           old.giftable, old.giftable_at, old.rooted_at, old.created_at, old.amount)
          is distinct from
          (new.id, new.org_id, new.origin, new.root_id, new.parent_id, new.transfer_id, new.priority, new.expires_at,
           new.giftable, new.giftable_at, new.rooted_at, new.created_at, new.amount))
    execute function ledger.keep_nature();
