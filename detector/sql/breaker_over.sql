update detector.breaker set over_at = clock_timestamp()
