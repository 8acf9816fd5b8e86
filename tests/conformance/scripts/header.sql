-- PRAGMAs that live in the database header or look at the file: user_version, application_id, encoding, max_page_count
-- (SQLITE_FULL and room again), page and freelist counts, dbstat, quick_check, file controls.
{{open main.db}}
PRAGMA encoding='UTF-16le';
PRAGMA user_version=42;
PRAGMA application_id=1234567;
CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT);
INSERT INTO t VALUES(1, 'Größe'), (2, '日本語'), (3, char(0x1F600));
SELECT id, length(v), hex(v) FROM t;
PRAGMA encoding;
{{unless off}}
PRAGMA max_page_count=12;
WITH RECURSIVE c(i) AS (VALUES(10) UNION ALL SELECT i + 1 FROM c WHERE i < 2000) INSERT INTO t SELECT i, printf('%0400d', i) FROM c;
SELECT count(*) FROM t;
BEGIN;
INSERT INTO t VALUES(4, 'kept');
INSERT INTO t VALUES(5, printf('%0900000d', 5));
COMMIT;
SELECT count(*) FROM t;
PRAGMA max_page_count=100000;
{{end}}
INSERT INTO t VALUES(50, printf('%0900000d', 5));
SELECT count(*), sum(length(v)) FROM t;
PRAGMA page_count;
DELETE FROM t WHERE id = 50;
PRAGMA freelist_count;
SELECT name, count(*), sum(payload), sum(unused) FROM dbstat GROUP BY name ORDER BY name;
PRAGMA user_version;
PRAGMA application_id;
PRAGMA schema_version;
PRAGMA quick_check;
PRAGMA cell_size_check=on;
PRAGMA integrity_check(5);
PRAGMA writable_schema=on;
UPDATE sqlite_schema SET sql = 'CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT, extra)' WHERE name = 't';
PRAGMA writable_schema=reset;
SELECT count(extra), count(*) FROM t;
PRAGMA optimize;
.filectrl psow 1
.filectrl persist_wal
.filectrl reserve_bytes 0
.filectrl has_moved
.filectrl chunk_size 262144
INSERT INTO t VALUES(60, zeroblob(3000000), 1);
.shell stat -c %s main.db
.filectrl size_limit
.filectrl data_version
PRAGMA integrity_check;
{{open reserved.db}}
.filectrl reserve_bytes 16
CREATE TABLE t(v);
INSERT INTO t VALUES(printf('%05000d', 1));
VACUUM;
INSERT INTO t SELECT v || v FROM t;
PRAGMA integrity_check;
