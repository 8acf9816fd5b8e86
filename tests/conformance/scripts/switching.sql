-- Changing the journal mode back and forth between statements and inside transactions, locking_mode exclusive and back
-- to normal, refused changes while another connection reads, synchronous changed along the way.
{{open main.db}}
CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT);
INSERT INTO t VALUES(1, 'start');
PRAGMA journal_mode=wal;
INSERT INTO t VALUES(2, 'wal');
PRAGMA journal_mode=delete;
INSERT INTO t VALUES(3, 'delete');
PRAGMA journal_mode=persist;
INSERT INTO t VALUES(4, 'persist');
.shell stat -c '%n %s' main.db-journal 2>/dev/null
PRAGMA journal_size_limit=100;
INSERT INTO t VALUES(5, 'persist, limited');
.shell stat -c '%n %s' main.db-journal 2>/dev/null
PRAGMA journal_mode=truncate;
INSERT INTO t VALUES(6, 'truncate');
.shell stat -c '%n %s' main.db-journal 2>/dev/null
PRAGMA journal_mode=memory;
INSERT INTO t VALUES(7, 'memory');
PRAGMA journal_mode=off;
INSERT INTO t VALUES(8, 'off');
PRAGMA journal_mode=wal;
INSERT INTO t VALUES(9, 'wal again');
BEGIN;
PRAGMA journal_mode=delete;
INSERT INTO t VALUES(10, 'in a transaction');
COMMIT;
PRAGMA synchronous=off;
INSERT INTO t VALUES(11, 'sync off');
PRAGMA synchronous=extra;
INSERT INTO t VALUES(12, 'sync extra');
PRAGMA locking_mode=exclusive;
INSERT INTO t VALUES(13, 'exclusive');
.shell ls main.db*
PRAGMA journal_mode=delete;
INSERT INTO t VALUES(14, 'exclusive, delete');
.shell ls main.db*
PRAGMA locking_mode=normal;
SELECT count(*) FROM t;
.shell ls main.db*
PRAGMA journal_mode=wal;
PRAGMA locking_mode=exclusive;
INSERT INTO t VALUES(15, 'exclusive wal');
PRAGMA locking_mode=normal;
INSERT INTO t VALUES(16, 'normal wal');
PRAGMA journal_mode=delete;
PRAGMA locking_mode=exclusive;
PRAGMA journal_mode=wal;
INSERT INTO t VALUES(17, 'heap wal-index');
.shell ls main.db*
PRAGMA locking_mode=normal;
INSERT INTO t VALUES(18, 'still on the heap');
PRAGMA journal_mode=delete;
PRAGMA locking_mode=normal;
SELECT count(*) FROM t;
PRAGMA journal_mode=wal;
INSERT INTO t VALUES(19, 'shared wal-index');
.shell ls main.db*
.connection 1
{{open main.db}}
BEGIN;
SELECT count(*) FROM t;
.connection 0
PRAGMA journal_mode=delete;
INSERT INTO t VALUES(20, 'while the other reads');
.connection 1
SELECT count(*) FROM t;
COMMIT;
SELECT count(*) FROM t;
PRAGMA journal_mode=persist;
.connection 0
.connection close 1
PRAGMA journal_mode=persist;
INSERT INTO t VALUES(21, 'persist at last');
PRAGMA journal_mode=nonsense;
SELECT * FROM t;
PRAGMA integrity_check;
