update detector.shadow_progress set upto = $2 where sha256 = $1
