-- For pgbench: a customer orders, or pays, or looks, or changes their mind. The oldest orders go, so that the
-- table keeps its size.
\set customer random(1, 1000)
\set amount_cents random(100, 90000)
\set what random(1, 10)
\if :what <= 4
BEGIN;
INSERT INTO orders (customer, amount_cents) VALUES (:customer, :amount_cents);
DELETE FROM orders WHERE id = (SELECT min(id) FROM orders);
COMMIT;
\elif :what <= 7
UPDATE orders SET state = 'paid' WHERE customer = :customer AND state = 'open';
\elif :what <= 9
SELECT sum(amount_cents) FROM orders WHERE customer = :customer;
\else
BEGIN;
INSERT INTO orders (customer, amount_cents) VALUES (:customer, :amount_cents);
ROLLBACK;
\endif
