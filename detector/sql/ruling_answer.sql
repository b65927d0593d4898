update detector.rulings set status = $2, second = $3, second_at = $4, second_why = $5 where id = $1
