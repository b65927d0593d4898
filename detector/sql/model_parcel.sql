select name, parcel from detector.models where sha256 = $1
