-- Temporary tables, indices, views and triggers with temp_store file and memory, spilling, rolled back with savepoints;
-- temporary tables together with the main database in one transaction; a temporary database without a name.
{{open main.db}}
PRAGMA temp_store=file;
PRAGMA temp.cache_size=5;
CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT);
CREATE TEMP TABLE s(id INTEGER PRIMARY KEY, v TEXT);
CREATE INDEX temp.s_v ON s(v);
CREATE TEMP TRIGGER t_insert AFTER INSERT ON main.t BEGIN INSERT INTO s VALUES(new.id, 'seen ' || new.v); END;
BEGIN;
WITH RECURSIVE c(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM c WHERE i < 2000)
  INSERT INTO t SELECT i, printf('%0180d', i * 7919 % 10007) FROM c;
COMMIT;
SELECT count(*), sum(length(v)), max(v) FROM s;
{{unless off}}
BEGIN;
DELETE FROM s WHERE id % 2;
SAVEPOINT a;
UPDATE s SET v = v || v;
DELETE FROM t WHERE id > 1000;
ROLLBACK TO a;
SELECT count(*), sum(length(v)) FROM s;
ROLLBACK;
{{end}}
SELECT count(*), sum(length(v)) FROM s;
CREATE TEMP VIEW both AS SELECT t.id, s.v FROM t JOIN s USING(id);
SELECT count(*), max(v) FROM both;
CREATE TEMP TABLE w(k TEXT PRIMARY KEY, n INT) WITHOUT ROWID;
INSERT INTO w SELECT v, id FROM s WHERE true ON CONFLICT DO UPDATE SET n = n + 1;
DELETE FROM w WHERE n % 3 = 1;
SELECT count(*), sum(n) FROM w;
PRAGMA temp.integrity_check;
DROP TABLE s;
PRAGMA temp_store=memory;
CREATE TEMP TABLE s AS SELECT * FROM t;
SELECT count(*) FROM s;
SELECT count(*) FROM temp.sqlite_schema;
.open {{uri}}
PRAGMA cache_size=10;
CREATE TABLE anonymous(x);
INSERT INTO anonymous WITH RECURSIVE c(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM c WHERE i < 3000) SELECT printf('%0500d', i) FROM c;
SELECT count(*), sum(length(x)) FROM anonymous;
