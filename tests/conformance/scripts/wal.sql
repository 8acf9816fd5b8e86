-- The WAL with two and three connections: snapshots, partial checkpoints held back by a reader, all four kinds of
-- checkpoint, restart, journal_size_limit, small autocheckpoint, BUSY and BUSY_SNAPSHOT, psow=0 (padding frames),
-- persist_wal. The WAL is copied before closing: frames are compared one by one, without salts and checksums.
{{open main.db}}
PRAGMA journal_mode=wal;
PRAGMA wal_autocheckpoint=0;
CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT);
BEGIN;
WITH RECURSIVE c(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM c WHERE i < 400)
  INSERT INTO t SELECT i, printf('%0300d', i) FROM c;
COMMIT;
.connection 1
{{open main.db}}
BEGIN;
SELECT count(*), max(id) FROM t;
.connection 0
UPDATE t SET v = 'first' WHERE id = 1;
INSERT INTO t SELECT id + 1000, v FROM t WHERE id < 50;
PRAGMA wal_checkpoint(passive);
.connection 1
SELECT count(*), max(id), min(v) FROM t;
INSERT INTO t VALUES(5000, 'from an old snapshot');
.connection 0
PRAGMA wal_checkpoint(full);
PRAGMA wal_checkpoint(restart);
PRAGMA wal_checkpoint(truncate);
.connection 1
COMMIT;
SELECT count(*), max(id) FROM t;
.connection 0
.shell test -e main.db-wal && cp main.db-wal kept1-wal
PRAGMA wal_checkpoint(full);
INSERT INTO t VALUES(2000, 'restarts the log');
PRAGMA wal_checkpoint(restart);
.shell stat -c %s main.db-wal 2>/dev/null
INSERT INTO t VALUES(2001, 'again');
PRAGMA wal_checkpoint(truncate);
.shell stat -c %s main.db-wal 2>/dev/null
PRAGMA journal_size_limit=20000;
UPDATE t SET v = v || 'x';
PRAGMA wal_checkpoint(full);
INSERT INTO t VALUES(2002, 'limits the log');
.shell stat -c %s main.db-wal 2>/dev/null
PRAGMA wal_autocheckpoint=5;
INSERT INTO t VALUES(3001, zeroblob(9000));
INSERT INTO t VALUES(3002, zeroblob(9000));
DELETE FROM t WHERE id = 3001;
.connection 1
SELECT count(*), sum(length(v)) FROM t;
BEGIN IMMEDIATE;
INSERT INTO t VALUES(4000, 'uncommitted');
.connection 2
{{open main.db}}
SELECT count(*), sum(length(v)) FROM t;
INSERT INTO t VALUES(4001, 'busy');
PRAGMA wal_checkpoint(full);
PRAGMA wal_checkpoint(passive);
.connection 1
COMMIT;
.connection 2
INSERT INTO t VALUES(4001, 'no longer busy');
SELECT count(*), sum(length(v)) FROM t;
.connection close 1
.connection 0
.connection close 2
PRAGMA cache_size=5;
PRAGMA wal_autocheckpoint=0;
BEGIN;
UPDATE t SET v = v || 'spilled';
SAVEPOINT a;
UPDATE t SET v = v || 'rolled back' WHERE id < 200;
ROLLBACK TO a;
UPDATE t SET v = v || 'again' WHERE id % 3 = 0;
COMMIT;
BEGIN;
UPDATE t SET v = 'never seen';
ROLLBACK;
UPDATE t SET v = 'short' WHERE id = 7;
.shell test -e main.db-wal && cp main.db-wal kept2-wal
SELECT count(*), sum(length(v)), max(v) FROM t;
PRAGMA integrity_check;
{{open padded.db psow=0}}
PRAGMA journal_mode=wal;
CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT);
INSERT INTO t VALUES(1, 'padded'), (2, 'to a sector');
BEGIN;
INSERT INTO t SELECT id + 10, v FROM t;
COMMIT;
.shell test -e padded.db-wal && cp padded.db-wal kept3-wal
.filectrl persist_wal 1
{{open padded.db}}
.shell stat -c %s padded.db-wal 2>/dev/null
SELECT * FROM t;
PRAGMA integrity_check;
