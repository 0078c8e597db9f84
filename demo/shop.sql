-- A small shop, so that the statistics have something to tell.
CREATE TABLE customers (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL
);
CREATE TABLE orders (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer bigint NOT NULL REFERENCES customers,
    state text NOT NULL DEFAULT 'open',
    amount_cents bigint NOT NULL,
    ordered timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ON orders (customer);
INSERT INTO customers (name) SELECT 'customer ' || number FROM generate_series(1, 1000) AS number;
INSERT INTO orders (customer, amount_cents)
SELECT 1 + number % 1000, 100 + number % 90000 FROM generate_series(1, 5000) AS number;
ANALYZE;
