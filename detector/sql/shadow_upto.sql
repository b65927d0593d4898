select upto from detector.shadow_progress where sha256 = $1
