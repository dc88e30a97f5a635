-- The project through which the pair was made; rows of before have none.
ALTER TABLE links ADD COLUMN project TEXT;
