select seq, link, hash from log.head
