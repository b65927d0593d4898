-- How many gifts were first looked at with $1 ≤ at < $2, and the first and the last moment.
select count(*) as gifts, min(at) as first, max(at) as last
from detector.decisions where look = 1 and at >= $1 and at < $2
