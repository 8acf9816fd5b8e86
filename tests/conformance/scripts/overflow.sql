-- Long rows: overflow chains of every length, grown, shrunk and freed; long index keys; freelist reuse; secure_delete.
{{open main.db}}
PRAGMA cache_size=10;
CREATE TABLE big(id INTEGER PRIMARY KEY, data BLOB, tail TEXT);
CREATE TABLE key(k TEXT PRIMARY KEY, n INT) WITHOUT ROWID;
WITH RECURSIVE c(i, n) AS (VALUES(1, 1) UNION ALL SELECT i + 1, n * 3 / 2 + 1 FROM c WHERE i < 28)
  INSERT INTO big SELECT i, zeroblob(n), printf('tail %d', n) FROM c;
INSERT INTO big SELECT id + 100, CAST(printf('%0*d', length(data) + id, id) AS BLOB), tail FROM big WHERE id > 15;
SELECT count(*), sum(length(data)), max(tail) FROM big;
SELECT id, hex(substr(data, -2)) FROM big WHERE id > 120 ORDER BY id;
INSERT INTO key SELECT printf('%0*d', 10 + id * 53, id), id FROM big;
SELECT count(*), sum(length(k)) FROM key WHERE k > '0';
CREATE INDEX big_data ON big(data) WHERE length(data) < 9000;
UPDATE big SET data = substr(data, 1, length(data) / 2) WHERE id % 2 = 0;
UPDATE big SET data = data || data || data WHERE id % 5 = 0;
PRAGMA secure_delete=off;
DELETE FROM big WHERE id IN (26, 27, 121);
PRAGMA freelist_count;
PRAGMA secure_delete=on;
DELETE FROM big WHERE id IN (28, 128);
PRAGMA freelist_count;
INSERT INTO big SELECT id + 1000, CAST(printf('%.*c', 30000, char(65 + id % 26)) AS BLOB), 'reuse' FROM big WHERE id < 11;
PRAGMA secure_delete=fast;
DELETE FROM big WHERE id BETWEEN 1000 AND 1005;
PRAGMA page_count;
PRAGMA freelist_count;
SELECT count(*), sum(length(data)) FROM big;
{{open main.db}}
SELECT id, length(data), hex(substr(data, length(data) / 2, 2)) FROM big ORDER BY id DESC LIMIT 12;
SELECT substr(CAST(data AS TEXT), 29990, 10) FROM big WHERE tail = 'reuse' ORDER BY id;
PRAGMA integrity_check;
