select text from detector.policies where generation = $1
