-- From here on the log hears of every transfer. Those that were before have no event: how many there are, and what they
-- come to, is told once, so that none can be slipped in among them later. A database that begins here tells nothing.
select log.append(array['ledger.upgraded'], array['ledger'], array['system'], array[format(
    '{"amount":%s,"transfers":%s,"upto":"%s"}', sum(amount), count(*),
    to_char(max(created_at) at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))])
from ledger.transfers having count(*) > 0;
