-- Law 5 says hold where nobody could judge. A gift that was held for such silence alone was never judged, and is judged when there
-- is somebody to do it. A hit of silence is one of the names below and saw nothing; a rule that met a null says what it saw.
create function detector.silent(hits json) returns boolean language sql immutable as $$
    select count(*) > 0 and bool_and(
        h ->> 'by' = 'degraded' and h -> 'seen' is null and (h ->> 'name') ~ '^(no_policy|fault|model_[a-z0-9_]+|scorer_[a-z0-9_]+)$')
    from json_array_elements(hits) h where h ->> 'waived_by' is null
$$;
comment on function detector.silent is 'Whether nothing but silence holds a gift: no rule, limit, list or model said anything.';

-- The same of a case's reasons, which cannot tell a rule of such a name from silence: to find gifts by, never to let one go.
create function detector.maybe_silent(reasons text[]) returns boolean language sql immutable as $$
    select cardinality(reasons) > 0 and not exists (
        select from unnest(reasons) r where r !~ '^degraded:(no_policy|fault|model_[a-z0-9_]+|scorer_[a-z0-9_]+)$')
$$;
create index case_gifts_silent on detector.case_gifts (at, gift_id)
    where standing = 'waiting' and kind = 'hold' and detector.maybe_silent(reasons);
