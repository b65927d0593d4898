-- Whether the artifact named $1 is kept already, and how many labels are newer than the newest one named like $2.
select exists (select from detector.models where name = $1) as done,
    (select count(*) from detector.labels where label_at > coalesce(
        (select max(added_at) from detector.models where name like $2), '-infinity')) as labels
