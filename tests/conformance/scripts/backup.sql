-- Copies made by the shell: .backup, .restore, .clone, .save, .dump and .read, an in-memory copy (deserialize),
-- .sha3sum, a backup taken of a database that is in use, into one that exists with another page size.
{{open main.db}}
CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT);
CREATE INDEX t_v ON t(v);
CREATE VIEW vt AS SELECT v FROM t;
WITH RECURSIVE c(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM c WHERE i < 800)
  INSERT INTO t SELECT i, printf('%0200d', i * 7919 % 10007) FROM c;
.sha3sum
.backup {{uri backup.db}}
DELETE FROM t WHERE id > 400;
.save {{uri saved.db}}
.clone {{uri clone.db}}
.once dump.txt
.dump
.restore {{uri backup.db}}
SELECT count(*), max(v) FROM t;
.sha3sum
.backup main {{uri saved.db}}
.restore main {{uri no/such/file.db}}
.backup {{uri no/such/file.db}}
PRAGMA integrity_check;
.open {{uri clone.db}}
SELECT count(*), max(v) FROM t;
PRAGMA journal_mode;
.open {{uri saved.db}}
SELECT count(*), max(v) FROM t;
PRAGMA integrity_check;
{{open read.db}}
.read dump.txt
.sha3sum
{{open small.db}}
PRAGMA page_size=1024;
PRAGMA journal_mode=delete;
VACUUM;
CREATE TABLE other(x);
.backup {{uri backup.db}}
.open {{uri backup.db}}
.schema
.open --deserialize main.db
INSERT INTO t VALUES(10000, 'only in memory');
SELECT count(*) FROM t;
PRAGMA integrity_check;
.save {{uri frommemory.db}}
.open {{uri frommemory.db}}
SELECT count(*), max(id) FROM t;
