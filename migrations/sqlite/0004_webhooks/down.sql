DROP TABLE calls;
DROP TABLE notices;
DROP TABLE hooks;
DROP TABLE refusals;
DROP TABLE touched;
DROP TABLE deliveries;
DROP INDEX due_rung;
ALTER TABLE due DROP COLUMN request;
ALTER TABLE due DROP COLUMN rung;
