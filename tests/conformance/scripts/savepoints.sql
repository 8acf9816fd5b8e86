-- Savepoints nested, released and rolled back after the cache has spilled, so that frames or pages already written are
-- written again (in a WAL: frames overwritten in place and their checksums rewritten at commit).
{{open main.db}}
PRAGMA cache_size=5;
CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT);
CREATE INDEX t_v ON t(v);
WITH RECURSIVE c(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM c WHERE i < 300)
  INSERT INTO t SELECT i, printf('%0200d', i * 7919 % 10007) FROM c;
{{unless off}}
BEGIN;
UPDATE t SET v = v || 'a' WHERE id % 2 = 0;
SAVEPOINT s1;
UPDATE t SET v = v || 'b' WHERE id % 3 = 0;
SAVEPOINT s2;
DELETE FROM t WHERE id > 100;
SAVEPOINT s3;
INSERT INTO t SELECT id + 5000, v || 'c' FROM t;
ROLLBACK TO s3;
INSERT INTO t SELECT id + 6000, v || 'd' FROM t WHERE id < 50;
SELECT count(*), sum(length(v)) FROM t;
ROLLBACK TO s2;
SELECT count(*), sum(length(v)) FROM t;
UPDATE t SET v = v || 'e' WHERE id % 5 = 0;
RELEASE s2;
SELECT count(*), sum(length(v)) FROM t;
COMMIT;
SELECT count(*), sum(length(v)), max(v) FROM t;
BEGIN;
SAVEPOINT grow;
INSERT INTO t SELECT id + 10000, v FROM t;
INSERT INTO t SELECT id + 30000, v FROM t WHERE id < 20000;
ROLLBACK TO grow;
UPDATE t SET v = 'short';
ROLLBACK;
SELECT count(*), sum(length(v)), max(v) FROM t;
SAVEPOINT outer1;
INSERT INTO t VALUES(70000, 'outer');
SAVEPOINT inner1;
INSERT INTO t VALUES(70001, 'inner');
ROLLBACK TO inner1;
RELEASE outer1;
SELECT id FROM t WHERE id >= 70000;
SAVEPOINT ddl;
CREATE TABLE made(x);
INSERT INTO made SELECT v FROM t;
ROLLBACK TO ddl;
CREATE TABLE made(x, y);
RELEASE ddl;
.schema made
BEGIN;
SAVEPOINT again;
UPDATE t SET v = 'x' || v WHERE id < 100;
ROLLBACK TO again;
UPDATE t SET v = 'y' || v WHERE id < 100;
ROLLBACK TO again;
UPDATE t SET v = 'z' || v WHERE id < 100;
RELEASE again;
COMMIT;
{{end}}
SELECT count(*), sum(length(v)), max(v) FROM t;
ROLLBACK TO nowhere;
RELEASE nowhere;
PRAGMA integrity_check;
{{open main.db}}
SELECT count(*), sum(length(v)), max(v) FROM t;
PRAGMA integrity_check;
