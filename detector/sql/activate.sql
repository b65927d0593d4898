insert into detector.activations (generation, author) values ($1, $2)
