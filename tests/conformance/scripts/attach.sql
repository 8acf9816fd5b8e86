-- ATTACH: transactions over three databases (super-journal in the rollback modes), rolled back ones, different journal
-- modes side by side, a rollback by a failing constraint, copying between databases, DETACH, limits.
{{open main.db}}
ATTACH {{uri two.db}} AS two;
{{modes two}}
ATTACH {{uri three.db}} AS three;
{{modes three}}
ATTACH {{uri four.db}} AS four;
PRAGMA four.journal_mode=wal;
ATTACH ':memory:' AS mem;
PRAGMA cache_size=5;
PRAGMA two.cache_size=5;
CREATE TABLE main.account(id INTEGER PRIMARY KEY, n INT, pad TEXT);
CREATE TABLE two.account(id INTEGER PRIMARY KEY, n INT, pad TEXT);
CREATE TABLE three.account(id INTEGER PRIMARY KEY, n INT CHECK(n >= 0), pad TEXT);
CREATE TABLE four.account(id INTEGER PRIMARY KEY, n INT, pad TEXT);
CREATE TABLE mem.account(id INTEGER PRIMARY KEY, n INT, pad TEXT);
BEGIN;
WITH RECURSIVE c(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM c WHERE i < 300)
  INSERT INTO main.account SELECT i, 1000, printf('%0150d', i) FROM c;
INSERT INTO two.account SELECT * FROM main.account;
INSERT INTO three.account SELECT * FROM main.account;
INSERT INTO four.account SELECT * FROM main.account;
INSERT INTO mem.account SELECT * FROM main.account;
COMMIT;
BEGIN;
UPDATE main.account SET n = n - 10;
UPDATE two.account SET n = n + 4;
UPDATE three.account SET n = n + 6;
COMMIT;
{{unless off}}
BEGIN;
UPDATE main.account SET n = n - 1;
UPDATE two.account SET n = n + 1, pad = pad || pad;
UPDATE four.account SET n = 0;
ROLLBACK;
BEGIN;
UPDATE main.account SET n = 7;
UPDATE two.account SET n = 7;
UPDATE OR ROLLBACK three.account SET n = n - 1006 - (id = 200);
COMMIT;
SAVEPOINT a;
DELETE FROM two.account WHERE id > 100;
SAVEPOINT b;
DELETE FROM three.account;
ROLLBACK TO b;
DELETE FROM main.account WHERE id > 200;
RELEASE a;
{{end}}
SELECT 'main', count(*), sum(n), sum(length(pad)) FROM main.account UNION ALL SELECT 'two', count(*), sum(n), sum(length(pad)) FROM two.account
  UNION ALL SELECT 'three', count(*), sum(n), sum(length(pad)) FROM three.account UNION ALL SELECT 'four', count(*), sum(n), sum(length(pad)) FROM four.account;
INSERT INTO two.account SELECT id + 1000, n, pad FROM four.account WHERE id < 10;
CREATE INDEX three.account_n ON account(n, pad);
DETACH four;
SELECT count(*) FROM four.account;
DETACH two;
ATTACH {{uri two.db mode=ro}} AS two;
INSERT INTO two.account VALUES(0, 0, 0);
SELECT count(*), sum(n) FROM two.account;
ATTACH {{uri missing.db mode=rw}} AS missing;
ATTACH {{uri three.db}} AS three;
PRAGMA main.integrity_check;
PRAGMA three.integrity_check;
.open {{uri four.db}}
SELECT count(*), sum(n) FROM account;
PRAGMA journal_mode=delete;
