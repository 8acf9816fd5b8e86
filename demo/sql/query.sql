.print Files by kind
SELECT printf('  %-12s %,7d files %,12d bytes', kind, count(*), sum(size))
  FROM (SELECT size, CASE WHEN path LIKE '%.h' THEN '*.h' WHEN path LIKE '%.hpp' THEN '*.hpp'
                          WHEN path LIKE '%/copyright' THEN 'copyright' WHEN path LIKE '%.html' THEN '*.html'
                          ELSE 'other' END AS kind FROM file)
 GROUP BY kind ORDER BY sum(size) DESC;
.print Full text: deadlock AND mutex, the best five
SELECT printf('  %7.3f  %s', bm25(text), file.path)
  FROM text JOIN file ON file.id = text.rowid
 WHERE text MATCH 'deadlock AND mutex' ORDER BY bm25(text), file.path LIMIT 5;
.print Full text: files with a phrase, a prefix, a pair of neighbours
SELECT printf('  %,7d  "permission is hereby granted"', count(*)) FROM text WHERE text MATCH '"permission is hereby granted"';
SELECT printf('  %,7d  pthread*', count(*)) FROM text WHERE text MATCH 'pthread*';
SELECT printf('  %,7d  NEAR(memory leak, 3)', count(*)) FROM text WHERE text MATCH 'NEAR(memory leak, 3)';
.print The largest files
SELECT printf('  %,12d  %s', size, path) FROM file ORDER BY size DESC, path LIMIT 3;
.print Every file read through: how many say TODO, how many bytes there are in all
SELECT printf('  %,7d files, %,d bytes', sum(instr(content, 'TODO') > 0), sum(length(CAST(content AS BLOB)))) FROM file;
.print Every file looked up by its path, each look-up by index
SELECT printf('  %,7d found', count(*)) FROM file AS a JOIN file AS b ON b.path = substr(a.path || 'x', 1, length(a.path));
.print Words known to the full-text index
CREATE VIRTUAL TABLE temp.word USING fts5vocab('main', 'text', 'row');
SELECT printf('  %,7d words, %,d occurrences', count(*), sum(cnt)) FROM word;
