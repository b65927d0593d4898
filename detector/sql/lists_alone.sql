-- Before a list is changed: alone, and only then is it read what stands.
select pg_advisory_xact_lock(6023184997150284417)
