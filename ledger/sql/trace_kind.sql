-- What a name is of: ids of grants and transfers come before orgs, which may be called anything.
select kind from (
    select 1 as rank, 'grant' as kind from ledger.grants where id = $1
    union all select 2, 'transfer' from ledger.transfers where id = $1
    union all select 3, 'org' from ledger.orgs where id = $1
) k order by rank limit 1
