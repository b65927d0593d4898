select salt from detector.sample_salt
