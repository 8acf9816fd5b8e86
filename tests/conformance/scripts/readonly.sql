-- mode=ro, immutable=1, nolock=1, read-only files, mode=rw of a missing file, a folder, a file that is no database, an
-- empty file, a truncated database, a database of another page size than asked for.
{{open main.db}}
CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT);
WITH RECURSIVE c(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM c WHERE i < 500)
  INSERT INTO t SELECT i, printf('%0200d', i * 7919 % 10007) FROM c;
.open {{uri main.db mode=ro}}
SELECT count(*), max(v) FROM t;
INSERT INTO t VALUES(1000, 'no');
PRAGMA journal_mode=delete;
CREATE TEMP TABLE s AS SELECT * FROM t;
SELECT count(*) FROM s;
PRAGMA user_version=3;
.open {{uri main.db immutable=1}}
SELECT count(*), max(v) FROM t;
INSERT INTO t VALUES(1000, 'no');
PRAGMA integrity_check;
.open {{uri main.db nolock=1}}
SELECT count(*) FROM t;
INSERT INTO t VALUES(1000, 'without locks');
BEGIN;
UPDATE t SET v = v || 'x';
ROLLBACK;
SELECT count(*), sum(length(v)) FROM t;
PRAGMA journal_mode;
.shell ls main.db*
.open --readonly {{uri main.db}}
SELECT count(*) FROM t;
DELETE FROM t;
.open {{uri missing.db mode=rw}}
SELECT 1;
.open {{uri missing.db mode=ro}}
SELECT 1;
.shell mkdir folder
.open {{uri folder}}
SELECT 1;
CREATE TABLE t(x);
.open {{uri no/such/folder.db}}
CREATE TABLE t(x);
.shell printf 'this is not a database, but it is longer than a header of one hundred bytes: %0400d' 1 >text.db
.open {{uri text.db}}
CREATE TABLE t(x);
SELECT * FROM sqlite_schema;
.shell : >empty.db
.open {{uri empty.db mode=ro}}
SELECT count(*) FROM sqlite_schema;
{{open empty.db}}
CREATE TABLE made(x);
.shell head -c 20000 main.db >cut.db
.open {{uri cut.db}}
SELECT count(*), sum(length(v)) FROM t;
PRAGMA journal_mode=delete;
INSERT INTO t VALUES(2000, 'x');
.shell head -c 60 main.db >stub.db
.open {{uri stub.db}}
SELECT count(*) FROM t;
.open {{uri main.db}}
PRAGMA page_size=32768;
PRAGMA page_size;
PRAGMA integrity_check;
