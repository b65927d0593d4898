-- How far each challenger has come, moved by the commit that keeps its scores: killed anywhere, it says each thing once.
create table detector.shadow_progress (
    sha256 text collate "C" primary key references detector.models,
    upto timestamptz not null
);
comment on table detector.shadow_progress is 'Decisions with at < upto are scored; the next slice of time begins there.';
