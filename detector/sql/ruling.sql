select * from detector.rulings where id = $1 and case_id = $2
