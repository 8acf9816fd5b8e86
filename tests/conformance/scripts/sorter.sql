-- CREATE INDEX, ORDER BY, DISTINCT and GROUP BY beyond the sorter's memory (temporary files), with and without sorter
-- threads; materialised subqueries and automatic indices in temporary files.
{{open main.db}}
PRAGMA cache_size=10;
PRAGMA temp_store=file;
CREATE TABLE t(id INTEGER PRIMARY KEY, a INT, pad TEXT);
BEGIN;
WITH RECURSIVE c(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM c WHERE i < 9000)
  INSERT INTO t SELECT i, i * 7919 % 9001, printf('%0120d', i * 104729 % 1000003) FROM c;
COMMIT;
CREATE INDEX t_pad ON t(pad, a);
PRAGMA threads=4;
CREATE UNIQUE INDEX t_both ON t(pad DESC, id);
PRAGMA threads=0;
SELECT count(*), sum(n) FROM (SELECT DISTINCT substr(pad, -5) || a AS k, 1 AS n FROM t);
SELECT sum(id * r) FROM (SELECT id, row_number() OVER (ORDER BY pad || 'x') AS r FROM t);
PRAGMA threads=3;
SELECT a, pad FROM t ORDER BY pad || a LIMIT 3 OFFSET 7000;
SELECT count(*), max(k) FROM (SELECT substr(pad, 100) AS k, count(*) FROM t GROUP BY 1 ORDER BY 2, 1);
SELECT count(*) FROM t x JOIN (SELECT pad AS p, a + 1 AS b FROM t LIMIT 3000) y ON x.a = y.b AND x.pad <> y.p;
CREATE UNIQUE INDEX fails ON t(a % 100);
REINDEX t_pad;
SELECT count(*) FROM t INDEXED BY t_both WHERE pad > printf('%0120d', 500000);
DROP INDEX t_pad;
PRAGMA integrity_check;
