select sender, recipient, ip, device, fingerprint from detector.decisions where id = any($1::text[])
