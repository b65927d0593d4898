select id, at, look, sender, recipient, amount, ip, device, tier, verdict, refused, hits, vector, generation, model,
    score, retry_after_s, payload_hash
from detector.decisions where id = any($1::text[]) order by look
