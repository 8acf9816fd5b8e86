-- VACUUM, VACUUM with another page size, VACUUM INTO, auto_vacuum full and incremental and between them.
{{open main.db}}
CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT);
CREATE INDEX t_v ON t(v);
WITH RECURSIVE c(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM c WHERE i < 1500)
  INSERT INTO t SELECT i, printf('%0150d', i * 7919 % 10007) FROM c;
DELETE FROM t WHERE id % 3;
PRAGMA freelist_count;
VACUUM;
PRAGMA freelist_count;
PRAGMA page_count;
VACUUM INTO {{uri into.db}};
VACUUM INTO {{uri into.db}};
VACUUM INTO {{uri no/such/folder.db}};
PRAGMA page_size=1024;
VACUUM;
PRAGMA page_size;
PRAGMA page_size=8192;
PRAGMA journal_mode=delete;
VACUUM;
PRAGMA page_size;
SELECT count(*), max(v) FROM t;
PRAGMA auto_vacuum=full;
VACUUM;
PRAGMA auto_vacuum;
PRAGMA page_count;
DELETE FROM t WHERE id % 2;
PRAGMA page_count;
PRAGMA auto_vacuum=incremental;
DELETE FROM t WHERE id > 300;
PRAGMA freelist_count;
PRAGMA incremental_vacuum(3);
PRAGMA freelist_count;
PRAGMA incremental_vacuum;
PRAGMA page_count;
BEGIN;
VACUUM;
COMMIT;
{{open incremental.db}}
PRAGMA auto_vacuum=incremental;
{{modes main}}
CREATE TABLE t(id INTEGER PRIMARY KEY, v BLOB);
WITH RECURSIVE c(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM c WHERE i < 200) INSERT INTO t SELECT i, zeroblob(3000) FROM c;
DELETE FROM t WHERE id < 150;
PRAGMA incremental_vacuum(20);
{{unless off}}
BEGIN;
PRAGMA incremental_vacuum(5);
DELETE FROM t WHERE id < 170;
ROLLBACK;
{{end}}
PRAGMA integrity_check;
PRAGMA auto_vacuum=none;
VACUUM;
PRAGMA auto_vacuum;
{{open main.db}}
PRAGMA integrity_check;
.open {{uri into.db}}
SELECT count(*), max(v) FROM t;
PRAGMA integrity_check;
