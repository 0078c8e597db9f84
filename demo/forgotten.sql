-- For pgbench: a session that changes a row and forgets to commit, for hours. An UPDATE of the same row waits for it;
-- orders of this customer do not. (pgbench's \sleep counts microseconds in 32 bits.)
BEGIN;
UPDATE customers SET name = name WHERE id = 1;
\sleep 2000 s
\sleep 2000 s
\sleep 2000 s
\sleep 2000 s
\sleep 2000 s
\sleep 2000 s
\sleep 2000 s
\sleep 2000 s
\sleep 2000 s
COMMIT;
