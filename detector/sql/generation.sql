select generation from detector.activations order by id desc limit 1
