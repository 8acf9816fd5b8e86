PRAGMA synchronous = full;
CREATE UNIQUE INDEX file_path ON file(path);
CREATE INDEX file_size ON file(size);
CREATE INDEX file_mtime ON file(mtime);
CREATE VIRTUAL TABLE text USING fts5(content, content = 'file', content_rowid = 'id');
