insert into detector.models (sha256, name, parcel, author) values ($1, $2, $3, $4) on conflict (sha256) do nothing
