-- JSON: what the item said whose partner is being made. Both agreed on it, should the answer be lost.
ALTER TABLE intents ADD COLUMN sent TEXT;
