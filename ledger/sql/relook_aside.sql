-- What failed: gifts of $1 stand alone from now on, and one that stands alone already is passed over.
with failed as (delete from ledger.relooks where id = $1 returning what, whole, size, gifts), alone as (
    insert into ledger.relooks (what, whole, size, gifts)
    select what, whole, size, array[gift] from failed cross join unnest(gifts) as one (gift) where cardinality(gifts) > 1
)
select gifts from failed
