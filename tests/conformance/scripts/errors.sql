-- Statements that fail: every constraint with every conflict clause, multi-row statements undone in the middle, RAISE in
-- triggers, deferred foreign keys failing at COMMIT, misuse of transactions; what is left must be exactly the default's.
{{open main.db}}
PRAGMA foreign_keys=on;
PRAGMA cache_size=5;
CREATE TABLE t(id INTEGER PRIMARY KEY, u INT UNIQUE, n INT NOT NULL DEFAULT 0, c INT CHECK(c < 1000), pad TEXT);
CREATE TABLE child(id INTEGER PRIMARY KEY, t INT REFERENCES t(id) DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE typed(a INT, b TEXT) STRICT;
WITH RECURSIVE c(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM c WHERE i < 300)
  INSERT INTO t SELECT i, i, i, i, printf('%0200d', i) FROM c;
SELECT nonsense FROM t;
SELECT * FROM missing;
SYNTAX ERROR;
INSERT INTO t(id) VALUES('text');
COMMIT;
ROLLBACK;
{{unless off}}
INSERT INTO t SELECT id + 500, u + 1 + (id = 250) * -1000000, n, c, pad FROM t;
INSERT INTO t SELECT id + 500, u + 500 - (id = 250) * 300, n, c, pad FROM t;
SELECT count(*), sum(u) FROM t;
INSERT OR IGNORE INTO t SELECT id + 500, u + 200, n, c, pad FROM t;
SELECT count(*), sum(u) FROM t;
INSERT OR REPLACE INTO t SELECT id + 1000, u, n, c, pad FROM t WHERE id < 100;
SELECT count(*), sum(u) FROM t;
INSERT OR FAIL INTO t SELECT id + 2000, u + 5000 - (id = 150) * 4900, n, c, pad FROM t WHERE id < 200;
SELECT count(*), sum(u) FROM t;
UPDATE t SET n = CASE WHEN id = 200 THEN NULL ELSE n + 1 END;
UPDATE OR FAIL t SET c = c + 750 WHERE c > 200;
SELECT count(*), sum(c), sum(n) FROM t;
BEGIN;
DELETE FROM t WHERE id > 1000;
INSERT INTO t(id, u) VALUES(1, 99999);
SELECT count(*) FROM t;
INSERT OR ROLLBACK INTO t(id, u) VALUES(1, 99999);
SELECT count(*) FROM t;
ROLLBACK;
BEGIN;
INSERT INTO child VALUES(1, 77777);
COMMIT;
INSERT INTO t(id, u) VALUES(77777, 77777);
COMMIT;
DELETE FROM t WHERE id = 77777;
INSERT INTO typed VALUES('x', 'y');
CREATE TRIGGER stop BEFORE DELETE ON t WHEN old.id = 120 BEGIN SELECT RAISE(ABORT, 'not this one'); END;
CREATE TRIGGER stop_all BEFORE DELETE ON t WHEN old.id = 130 BEGIN SELECT RAISE(ROLLBACK, 'all back'); END;
DELETE FROM t WHERE id BETWEEN 100 AND 125;
SELECT count(*) FROM t WHERE id BETWEEN 100 AND 125;
BEGIN;
DELETE FROM t WHERE id BETWEEN 1 AND 50;
DELETE FROM t WHERE id BETWEEN 126 AND 140;
COMMIT;
SELECT count(*) FROM t WHERE id < 200;
BEGIN;
CREATE TABLE t(x);
BEGIN;
COMMIT;
CREATE UNIQUE INDEX t_n ON t(n % 10);
CREATE TABLE u2 AS SELECT 1 / 0, abs(-9223372036854775808);
SELECT name FROM sqlite_schema ORDER BY 1;
INSERT INTO t(id, u, pad) VALUES(88888, 88888, zeroblob(2000000000));
SELECT json('{bad');
{{end}}
SELECT count(*), sum(u), sum(n), sum(c), sum(length(pad)) FROM t;
PRAGMA foreign_key_check;
PRAGMA integrity_check;
{{open main.db}}
SELECT count(*), sum(u), sum(n), sum(c), sum(length(pad)) FROM t;
PRAGMA integrity_check;
