-- List the gifts that news may touch, $1 at most of the news and $2 gifts in one go, once nobody is left who judges
-- without knowing it. News of everything takes the place of what is still to be done of older such news.
with ready as (
    delete from detector.news where id in (
        select id from detector.news where horizon <= pg_snapshot_xmin(pg_current_snapshot())
        order by id limit $1 for update skip locked)
    returning id, what, kind, value
), replaced as (
    delete from ledger.relooks
    where exists (select from ready where kind = 'everything') and id in (
        select id from ledger.relooks where whole for update skip locked)
), asked as (
    select distinct on (kind, value) * from ready order by kind, value, id
), touched as (
    select distinct on (t.gift) t.gift, t.sender, a.what, a.kind = 'everything' as whole
    from asked a cross join lateral ledger.touched(a.kind, a.value) t order by t.gift, a.id
), placed as (
    select *, count(*) over (partition by what, whole) as size,
        (row_number() over (partition by what, whole order by sender, gift) - 1) / $2 as piece
    from touched
), listed as (
    insert into ledger.relooks (what, whole, size, gifts)
    select what, whole, size, array_agg(gift order by gift) from placed group by what, whole, size, piece order by piece
)
select (select count(*) from ready) as news, (select count(*) from touched) as gifts
