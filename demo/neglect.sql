-- What nobody has looked at for a long time: the slot of a standby that is gone, and an identity of 32 bits that
-- has few numbers left.
SELECT pg_create_physical_replication_slot('gone_standby', true);
CREATE TABLE visits (
    id integer GENERATED ALWAYS AS IDENTITY (START WITH 2000000000) PRIMARY KEY,
    customer bigint NOT NULL REFERENCES customers
);
INSERT INTO visits (customer) SELECT 1 + number % 1000 FROM generate_series(1, 500) AS number;
