DROP INDEX tombstones_by_repo;
ALTER TABLE tombstones DROP COLUMN repo_id;
