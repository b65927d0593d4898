select count(*) filter (where not coalesce(claimed_until > clock_timestamp(), false)) as open,
    count(*) filter (where claimed_until > clock_timestamp()) as claimed
from detector.cases where ended_at is null
