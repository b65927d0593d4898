-- Which feature table a decision's features were read by: another table's are never scored.
alter table detector.decisions add column feature_table text collate "C";
comment on column detector.decisions.features is
    'What the model read at this look, in the order of detector.model_vector.RECORDED; null without a model.';
comment on column detector.decisions.feature_table is 'The hash of the feature table that features follow.';

-- The means of payment behind a gift, as its ledger fingerprints it.
alter table detector.decisions add column fingerprint text collate "C";
alter table detector.labels add column fingerprint text collate "C";
create index decisions_fingerprint on detector.decisions (fingerprint, at) where look = 1 and fingerprint is not null;
create index labels_fingerprint on detector.labels (fingerprint, label_at) where fingerprint is not null;
