insert into detector.policies (generation, text)
select coalesce(max(generation), 0) + 1, $1 from detector.policies returning generation
