-- Transactions far larger than the cache: committed, rolled back, and dirtying the same pages over and over.
{{open main.db}}
PRAGMA cache_size=4;
PRAGMA cache_spill=2;
CREATE TABLE t(id INTEGER PRIMARY KEY, a INT, pad TEXT);
CREATE INDEX t_a ON t(a);
BEGIN;
WITH RECURSIVE c(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM c WHERE i < 4000)
  INSERT INTO t SELECT i, i * 7919 % 4001, printf('%0300d', i) FROM c;
UPDATE t SET a = a + 1 WHERE id % 10 = 0;
UPDATE t SET a = a + 1 WHERE id % 10 = 0;
UPDATE t SET pad = pad || 'tail' WHERE a % 100 < 10;
COMMIT;
SELECT count(*), sum(a), sum(length(pad)) FROM t;
{{unless off}}
BEGIN;
DELETE FROM t WHERE id % 2;
INSERT INTO t SELECT id + 100000, a, pad FROM t;
SELECT count(*) FROM t;
ROLLBACK;
SELECT count(*), sum(a), sum(length(pad)) FROM t;
{{end}}
BEGIN IMMEDIATE;
UPDATE t SET a = -a;
UPDATE t SET a = -a;
COMMIT;
BEGIN EXCLUSIVE;
DELETE FROM t WHERE id > 3000;
COMMIT;
PRAGMA cache_spill=off;
UPDATE t SET a = a + 1;
DELETE FROM t WHERE id > 2500;
SELECT count(*), sum(a), sum(length(pad)) FROM t;
DROP INDEX t_a;
DELETE FROM t;
PRAGMA freelist_count;
{{open main.db}}
PRAGMA page_count;
INSERT INTO t VALUES(1, 2, 'x');
PRAGMA integrity_check;
