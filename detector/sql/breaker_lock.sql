select from detector.breaker for no key update
