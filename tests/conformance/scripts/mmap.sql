-- mmap_size on, off, larger and smaller than the file; growing, truncating and rewriting a mapped database.
{{open main.db}}
PRAGMA mmap_size=1048576;
CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT);
BEGIN;
WITH RECURSIVE c(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM c WHERE i < 1000)
  INSERT INTO t SELECT i, printf('%0900d', i * 7919 % 10007) FROM c;
COMMIT;
PRAGMA wal_checkpoint(full);
SELECT count(*), sum(length(v)), max(v) FROM t;
PRAGMA mmap_size=67108864;
SELECT count(*), sum(length(v)), max(v) FROM t;
UPDATE t SET v = substr(v, 1, 500) || id;
INSERT INTO t SELECT id + 5000, v FROM t;
SELECT count(*), sum(length(v)), max(v) FROM t;
CREATE INDEX t_v ON t(v);
DELETE FROM t WHERE id > 1500;
PRAGMA mmap_size=65536;
VACUUM;
SELECT count(*), sum(length(v)), max(v) FROM t;
PRAGMA mmap_size=0;
UPDATE t SET v = upper(v) || 'A' WHERE id % 2;
PRAGMA mmap_size=268435456;
SELECT count(*), sum(length(v)), max(v) FROM t INDEXED BY t_v WHERE v > '';
INSERT INTO t VALUES(9999, zeroblob(600000));
SELECT length(v), hex(substr(v, 599990)) FROM t WHERE id = 9999;
{{unless off}}
BEGIN;
UPDATE t SET v = 'gone';
ROLLBACK;
{{end}}
PRAGMA integrity_check;
{{open main.db}}
PRAGMA mmap_size=16777216;
SELECT count(*), sum(length(v)), max(v) FROM t;
PRAGMA quick_check;
