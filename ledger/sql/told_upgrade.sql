select seq, body from log.events where kind = 'ledger.upgraded' order by seq limit 1
