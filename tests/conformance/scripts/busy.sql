-- Two and three connections in one process: who is refused and when, deferred, immediate and exclusive transactions,
-- readers against a committing writer, data_version, a shared cache.
{{open main.db}}
CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT);
INSERT INTO t VALUES(1, 'one'), (2, 'two');
.connection 1
{{open main.db}}
SELECT count(*) FROM t;
BEGIN IMMEDIATE;
.connection 0
BEGIN IMMEDIATE;
SELECT count(*) FROM t;
INSERT INTO t VALUES(3, 'refused');
.connection 1
INSERT INTO t VALUES(3, 'three');
COMMIT;
.connection 0
INSERT INTO t VALUES(4, 'four');
SELECT * FROM t;
BEGIN;
SELECT count(*) FROM t;
.connection 1
PRAGMA data_version;
INSERT INTO t VALUES(5, 'five');
PRAGMA data_version;
.connection 0
PRAGMA data_version;
COMMIT;
PRAGMA data_version;
BEGIN EXCLUSIVE;
.connection 1
SELECT count(*) FROM t;
INSERT INTO t VALUES(6, 'six');
.connection 0
INSERT INTO t VALUES(6, 'six from zero');
COMMIT;
.connection 2
{{open main.db}}
BEGIN;
SELECT count(*) FROM t;
.connection 1
BEGIN;
INSERT INTO t VALUES(7, 'seven');
COMMIT;
SELECT count(*) FROM t;
.connection 2
COMMIT;
.connection 1
COMMIT;
SELECT count(*) FROM t;
DROP TABLE t;
CREATE TABLE t2(x);
.connection 2
SELECT count(*) FROM t;
SELECT * FROM t2;
.connection 0
.connection close 1
.connection close 2
{{open shared.db cache=shared}}
CREATE TABLE s(x);
INSERT INTO s VALUES(1);
.connection 1
{{open shared.db cache=shared}}
SELECT * FROM s;
BEGIN;
INSERT INTO s VALUES(2);
.connection 0
SELECT * FROM s;
PRAGMA read_uncommitted=1;
SELECT * FROM s;
.connection 1
COMMIT;
.connection 0
SELECT * FROM s;
PRAGMA integrity_check;
