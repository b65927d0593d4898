select a.generation, a.at, a.author from detector.activations a order by a.id desc limit $1
