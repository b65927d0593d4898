-- Which of these orgs ($1) is on a list now, and on which; who is on both is blocked.
select value as org, max(list) as list from detector.list_entries
where kind = 'org' and value = any($1::text[]) and removed_at is null
    and (expires_at is null or expires_at > clock_timestamp())
group by value
