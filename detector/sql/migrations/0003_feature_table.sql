-- Which feature table a decision's features were read by: another table's are never scored.
alter table detector.decisions add column feature_table text collate "C";
comment on column detector.decisions.features is
    'What the model read at this look, in the order of detector.model_vector.RECORDED; null without a model.';
comment on column detector.decisions.feature_table is 'The hash of the feature table that features follow.';
