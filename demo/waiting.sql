-- For pgbench: the session that waits for the one of forgotten.sql.
\sleep 2 s
UPDATE customers SET name = name WHERE id = 1;
\sleep 2000 s
