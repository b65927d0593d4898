-- The challenger $1 begins with what is decided from its (first) promotion on.
insert into detector.shadow_progress (sha256, upto)
select $1, min(at) from detector.promotions where role = 'challenger' and sha256 = $1 having min(at) is not null
returning upto
