-- For pgbench: a connection that stays idle within its transaction, and a query that takes its time.
\set think_seconds random(2, 15)
\set customer random(1, 1000)
BEGIN;
SELECT name FROM customers WHERE id = :customer;
\sleep :think_seconds s
COMMIT;
SELECT pg_sleep(:think_seconds / 10.0);
