-- Where the challenger $1 goes on: where it stopped, or from its (first) promotion on.
insert into detector.shadow_progress (sha256, upto)
select $1, min(at) from detector.promotions where role = 'challenger' and sha256 = $1 having min(at) is not null
on conflict (sha256) do update set upto = detector.shadow_progress.upto
returning upto
