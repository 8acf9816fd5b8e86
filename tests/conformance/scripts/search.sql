-- FTS5 (build, query, delete, optimize, rebuild, external content), FTS4, R-tree, JSON.
{{open main.db}}
PRAGMA cache_size=20;
CREATE VIRTUAL TABLE doc USING fts5(title, body, prefix='2 3');
CREATE VIRTUAL TABLE old USING fts4(body);
CREATE VIRTUAL TABLE box USING rtree(id, x0, x1, y0, y1);
CREATE TABLE source(id INTEGER PRIMARY KEY, body TEXT);
CREATE VIRTUAL TABLE outside USING fts5(body, content='source', content_rowid='id');
BEGIN;
WITH RECURSIVE c(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM c WHERE i < 600)
  INSERT INTO doc SELECT 'title ' || i, printf('word%d common%d rare%x the quick brown page frame wal %d', i % 50, i % 7, i * 7919, i) FROM c;
INSERT INTO old SELECT body FROM doc;
INSERT INTO source(body) SELECT body FROM doc;
INSERT INTO outside(outside) VALUES('rebuild');
COMMIT;
SELECT count(*) FROM doc WHERE doc MATCH 'word3 OR word4';
SELECT rowid, snippet(doc, 1, '[', ']', '...', 5) FROM doc WHERE doc MATCH 'common3 AND word10' ORDER BY rank, rowid LIMIT 3;
SELECT count(*) FROM doc WHERE doc MATCH 'ra*';
SELECT count(*), sum(docid) FROM old WHERE old MATCH '"quick brown"';
DELETE FROM doc WHERE rowid % 3 = 0;
UPDATE doc SET body = 'rewritten body' WHERE rowid % 10 = 1;
SELECT count(*) FROM doc WHERE doc MATCH 'rewritten';
INSERT INTO doc(doc) VALUES('optimize');
INSERT INTO old(old) VALUES('optimize');
INSERT INTO doc(doc) VALUES('integrity-check');
INSERT INTO outside(outside) VALUES('integrity-check');
SELECT count(*) FROM outside WHERE outside MATCH 'frame';
WITH RECURSIVE c(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM c WHERE i < 400)
  INSERT INTO box SELECT i, i % 97, i % 97 + 3, i % 89, i % 89 + 2 FROM c;
SELECT count(*), sum(id) FROM box WHERE x0 > 10 AND x1 < 40 AND y0 > 20;
DELETE FROM box WHERE id % 2;
SELECT rtreecheck('box');
CREATE TABLE j(v TEXT);
INSERT INTO j SELECT json_object('id', rowid, 'list', json_array(rowid % 5, title), 'deep', json('{"a":[1,2,{"b":null}]}')) FROM doc LIMIT 200;
CREATE INDEX j_id ON j(v ->> '$.id');
SELECT count(*), sum(v ->> '$.id'), min(v -> '$.deep.a[2]') FROM j WHERE v ->> '$.id' > 100;
UPDATE j SET v = json_set(json_remove(v, '$.deep'), '$.list[#]', 'end') WHERE v ->> '$.id' % 2;
SELECT sum(length(v)), json_group_array(DISTINCT json_array_length(v, '$.list')) FROM j;
SELECT key, type, count(*) FROM j, json_each(v) GROUP BY 1, 2 ORDER BY 1, 2;
DROP TABLE old;
{{open main.db}}
SELECT count(*) FROM doc WHERE doc MATCH 'quick';
PRAGMA integrity_check;
