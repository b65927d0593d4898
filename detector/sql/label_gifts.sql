select sender, recipient, ip, device from detector.decisions where id = any($1::text[])
