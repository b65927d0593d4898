insert into detector.breaker_openings (generation, looks, judged, blocked) values ($1, $2, $3, $4) returning *
