PRAGMA journal_mode = wal;
PRAGMA synchronous = full;
CREATE TABLE file(
  id      INTEGER PRIMARY KEY,
  path    TEXT NOT NULL,
  size    INTEGER NOT NULL,
  mtime   INTEGER NOT NULL,
  content TEXT NOT NULL
);
