-- The short script of the full product: SQL and .open only, so that any client can run it.
-- Covers: schema with trigger, index and WITHOUT ROWID; overflow pages; a transaction that spills a ten-page cache,
-- committed and rolled back; savepoints; failing statements; a transaction over two attached databases; a temp table in
-- a file; leaving the WAL and coming back; a second open; integrity_check.
{{open main.db}}
PRAGMA cache_size=10;
PRAGMA temp_store=file;
CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT UNIQUE, data BLOB);
CREATE TABLE pair(k TEXT, n INT, PRIMARY KEY(k, n)) WITHOUT ROWID;
CREATE TABLE journal(id INT, old INT, new INT);
CREATE INDEX item_size ON item(length(data), name);
CREATE TRIGGER item_update AFTER UPDATE OF data ON item
  BEGIN INSERT INTO journal VALUES(new.id, length(old.data), length(new.data)); END;
BEGIN;
WITH RECURSIVE c(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM c WHERE i < 120)
  INSERT INTO item SELECT i, printf('name-%05d', i * 7919 % 10007),
    CASE WHEN i % 15 = 0 THEN zeroblob(70000 + i) ELSE printf('%0*d', 50 + i * 37 % 900, i) END FROM c;
INSERT INTO pair SELECT name, id FROM item;
COMMIT;
SELECT count(*), sum(length(data)), max(name) FROM item;
BEGIN;
UPDATE item SET data = data || 'x' WHERE id % 3 = 0;
SAVEPOINT one;
DELETE FROM pair WHERE n % 2;
{{unless off}}
ROLLBACK TO one;
{{end}}
INSERT INTO pair VALUES('inside', 1);
RELEASE one;
COMMIT;
SELECT count(*), sum(n) FROM pair;
SELECT count(*), sum(new - old) FROM journal;
{{unless off}}
BEGIN;
UPDATE item SET data = printf('%01000d', id);
SELECT count(*) FROM item WHERE length(data) = 1000;
ROLLBACK;
INSERT INTO item(name) VALUES('good'), ('name-07919'), ('never');
BEGIN;
INSERT INTO item(name) VALUES('lost');
INSERT OR ROLLBACK INTO item(name) VALUES('name-07919');
{{end}}
SELECT count(*), sum(length(data)) FROM item;
ATTACH {{uri other.db}} AS other;
{{modes other}}
CREATE TABLE other.copy AS SELECT id, name FROM item WHERE id <= 40;
BEGIN;
INSERT INTO other.copy VALUES(1000, 'both');
INSERT INTO item(id, name) VALUES(1000, 'both');
COMMIT;
CREATE TEMP TABLE scratch AS SELECT name, data FROM item;
SELECT count(*), sum(length(data)) FROM scratch JOIN copy USING(name);
DETACH other;
PRAGMA wal_checkpoint;
DELETE FROM item WHERE id % 4 = 1;
PRAGMA journal_mode=truncate;
INSERT INTO item(name) VALUES('in truncate mode');
{{open main.db}}
SELECT count(*), sum(length(data)), max(id) FROM item;
INSERT INTO item(name) VALUES('after reopen') RETURNING id;
PRAGMA integrity_check;
