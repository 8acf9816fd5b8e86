-- Schema and statements: partial, unique and expression indices, WITHOUT ROWID, STRICT, generated columns, views with
-- INSTEAD OF triggers, foreign keys, UPSERT, RETURNING, recursive CTEs, window functions, ALTER TABLE, DROP, AUTOINCREMENT.
{{open main.db}}
PRAGMA foreign_keys=on;
CREATE TABLE author(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE COLLATE NOCASE, born INT CHECK(born > 1000));
CREATE TABLE book(id INTEGER PRIMARY KEY, author INT REFERENCES author ON DELETE CASCADE, title TEXT, price REAL,
  title_size INT GENERATED ALWAYS AS (length(title)) VIRTUAL, label TEXT AS (title || ' / ' || author) STORED);
CREATE TABLE stock(place TEXT, book INT, n INT DEFAULT 0, PRIMARY KEY(place, book)) WITHOUT ROWID;
CREATE TABLE typed(a INT, b TEXT, c REAL, d BLOB, e ANY) STRICT;
CREATE INDEX book_partial ON book(price) WHERE price > 20;
CREATE INDEX book_expr ON book(lower(title), price DESC);
CREATE INDEX book_label ON book(label);
CREATE VIEW shelf AS SELECT b.id, a.name, b.title, s.n FROM book b JOIN author a ON a.id = b.author JOIN stock s ON s.book = b.id;
CREATE TRIGGER shelf_update INSTEAD OF UPDATE OF n ON shelf BEGIN UPDATE stock SET n = new.n WHERE book = old.id; END;
CREATE TABLE log(what TEXT, id INT);
CREATE TRIGGER book_insert AFTER INSERT ON book WHEN new.price > 50 BEGIN INSERT INTO log VALUES('dear', new.id); END;
CREATE TRIGGER author_delete BEFORE DELETE ON author BEGIN INSERT INTO log VALUES('gone', old.id); END;
INSERT INTO author(name, born) VALUES('Knuth', 1938), ('Gray', 1944), ('Codd', 1923) RETURNING id, name;
WITH RECURSIVE c(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM c WHERE i < 500)
  INSERT INTO book(author, title, price) SELECT 1 + i % 3, printf('Volume %d', i * 31 % 997), i * 17 % 100 + 0.5 FROM c;
INSERT INTO stock SELECT CASE id % 2 WHEN 0 THEN 'north' ELSE 'south' END, id, id % 7 FROM book;
UPDATE shelf SET n = n + 100 WHERE id BETWEEN 10 AND 20;
SELECT count(*), sum(n), max(title) FROM shelf;
SELECT count(*), sum(title_size), min(label) FROM book WHERE price > 20;
INSERT INTO author(name, born) VALUES('KNUTH', 1939) ON CONFLICT(name) DO UPDATE SET born = excluded.born RETURNING id, born;
INSERT INTO author(name, born) VALUES('gray', 1) ON CONFLICT DO NOTHING;
INSERT INTO author(name, born) VALUES('Gray', 2000) ON CONFLICT(name) DO UPDATE SET born = born + 1 WHERE born < 1900;
INSERT INTO stock VALUES('north', 2, 5), ('west', 2, 5) ON CONFLICT DO UPDATE SET n = n + excluded.n;
UPDATE book SET price = price * 2 FROM author WHERE author.id = book.author AND author.name = 'Codd' AND book.id < 10 RETURNING book.id, price;
SELECT author, title, rank() OVER (PARTITION BY author ORDER BY price DESC, id), sum(price) OVER (ORDER BY id ROWS 3 PRECEDING) FROM book WHERE id < 12 ORDER BY id;
WITH RECURSIVE walk(a, b) AS (VALUES(1, 1) UNION SELECT b, a + b FROM walk WHERE b < 10000) SELECT max(b) FROM walk;
DELETE FROM author WHERE name = 'Codd' RETURNING id;
SELECT count(*) FROM book;
SELECT what, count(*), sum(id) FROM log GROUP BY what;
INSERT INTO typed VALUES(1, 'x', 2, x'00', 'any'), (2, 'y', 3.5, zeroblob(3), 4.0);
SELECT *, typeof(e), typeof(c) FROM typed;
ALTER TABLE book ADD COLUMN note TEXT DEFAULT 'none';
ALTER TABLE book RENAME COLUMN note TO remark;
ALTER TABLE stock RENAME TO inventory;
ALTER TABLE log DROP COLUMN id;
SELECT remark, count(*) FROM book GROUP BY 1;
DROP INDEX book_expr;
DROP TABLE typed;
DROP VIEW shelf;
ANALYZE;
SELECT tbl, idx, stat FROM sqlite_stat1 ORDER BY 1, 2;
SELECT * FROM sqlite_sequence;
PRAGMA foreign_key_check;
{{open main.db}}
.schema
SELECT name, type FROM pragma_table_xinfo('book');
REINDEX;
PRAGMA integrity_check;
