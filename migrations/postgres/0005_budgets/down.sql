DROP TABLE starts;
DROP TABLE salt;
DROP TABLE credentials;
