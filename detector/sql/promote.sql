insert into detector.promotions (role, sha256, author, reason, figures) values ($1, $2, $3, $4, $5)
