-- No query asks for rows by what these hold, so sampling it for the planner buys nothing (ledger 0012).
alter table detector.decisions
    alter column seq set statistics 0,
    alter column amount set statistics 0,
    alter column refused set statistics 0,
    alter column hits set statistics 0,
    alter column vector set statistics 0,
    alter column generation set statistics 0,
    alter column score set statistics 0,
    alter column retry_after_s set statistics 0,
    alter column payload_hash set statistics 0,
    alter column features set statistics 0,
    alter column digest set statistics 0,
    alter column feature_table set statistics 0;
alter table log.events
    alter column body set statistics 0,
    alter column hash set statistics 0;
