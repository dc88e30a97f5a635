-- The repository by its id: names change and are used again. Rows of before know theirs if a link of the route does; 0
-- for those that do not.
ALTER TABLE tombstones ADD COLUMN repo_id BIGINT NOT NULL DEFAULT 0;

UPDATE tombstones SET repo_id = COALESCE(
    (
        SELECT links.repo_id FROM links
        WHERE links.route = tombstones.route AND links.repo_key = tombstones.repo_key AND links.repo_id <> 0
        LIMIT 1
    ),
    0
);

CREATE INDEX tombstones_by_repo ON tombstones (route, repo_id);
