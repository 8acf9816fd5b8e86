-- The files to store: every regular file below the directories in the table "root" that is text (no NUL byte in it),
-- is not empty, can be read, and is not compressed. Reading them all here also brings them into the page cache, so
-- that every run after this one finds them there.
CREATE TABLE found AS
WITH entry AS MATERIALIZED (
  SELECT name AS path, mtime, readfile(name) AS content
    FROM root, fsdir(root.dir)
   WHERE lsmode(mode) LIKE '-%' AND name NOT LIKE '%.gz' AND name NOT LIKE '%.xz' AND name NOT LIKE '%.bz2'
)
SELECT path, mtime, length(content) AS size
  FROM entry
 WHERE length(content) > 0 AND instr(content, x'00') = 0;

-- With a limit, an even share of every directory: the multiplier scatters the row numbers over 0..999,999.
CREATE TABLE todo(id INTEGER PRIMARY KEY, path TEXT, mtime INTEGER, size INTEGER, batch INTEGER);
INSERT INTO todo(path, mtime, size)
SELECT path, mtime, size
  FROM (SELECT rowid AS place, *, sum(size) OVER (ORDER BY rowid * 618033 % 1000000, rowid) AS bytes FROM found)
 WHERE bytes <= (SELECT max_bytes FROM setting)
 ORDER BY place;
UPDATE todo SET batch = (id - 1) / (SELECT batch FROM setting);
