insert into detector.rulings (id, case_id, act, amount, counted, four_eyes, why, orgs, status, author, at, deadline)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
