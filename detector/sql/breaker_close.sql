update detector.breaker_openings set closed_at = greatest(clock_timestamp(), opened_at), closed_why = $2 where id = $1 returning *
