select sha256 from detector.models where sha256 like $1 || '%'
