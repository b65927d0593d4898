select exists (select from detector.promotions where role = $1)
