.mode list
.headers off
-- Times: medians, and default / other pair by pair.
CREATE TEMP VIEW step AS SELECT column1 AS place, column2 AS step FROM (VALUES (1, 'store'), (2, 'index'), (3, 'query'), (4, 'all'));
CREATE TEMP TABLE time AS
WITH ranked AS (SELECT side, step, us, row_number() OVER w AS n, count(*) OVER (PARTITION BY side, step) AS of
                  FROM times WINDOW w AS (PARTITION BY side, step ORDER BY us))
SELECT side, step, avg(us) / 1e6 AS s FROM ranked WHERE n IN ((of + 1) / 2, (of + 2) / 2) GROUP BY side, step;
CREATE TEMP TABLE ratio AS
WITH pair AS (SELECT a.step, 1.0 * a.us / b.us AS r FROM times AS a JOIN times AS b USING (run, step)
               WHERE a.side = :a AND b.side = :b),
     ranked AS (SELECT step, r, row_number() OVER (PARTITION BY step ORDER BY r) AS n,
                       count(*) OVER (PARTITION BY step) AS of FROM pair)
SELECT step, avg(r) FILTER (WHERE n IN ((of + 1) / 2, (of + 2) / 2)) AS median, min(r) AS low, max(r) AS high
  FROM ranked GROUP BY step;
SELECT printf('%-30s %12s %12s    %s', 'Seconds (median of ' || max(run) || ')', :a, :b, 'ratio  (lowest - highest)') FROM times;
SELECT printf('  %-28s %12.2f %12.2f    %5.2f  (%.2f - %.2f)%s', step, a.s, b.s, median, low, high,
              CASE WHEN high < 1 AND median < 0.98 THEN '  slower' WHEN low > 1 AND median > 1.02 THEN '  faster' ELSE '  no clear difference' END)
  FROM step JOIN time AS a USING (step) JOIN time AS b USING (step) JOIN ratio USING (step)
 WHERE a.side = :a AND b.side = :b ORDER BY place;
SELECT printf('  ratio: %s / %s in the same pair of runs; above 1, %s is faster', :a, :b, :b);

-- System calls, by what they are for.
CREATE TEMP TABLE kind AS SELECT column1 AS place, column2 AS name, column3 AS label FROM (VALUES
  (1, 'pwrite64', 'pwrite64'), (2, 'pread64', 'pread64'), (3, 'fsync', 'fsync, fdatasync'), (3, 'fdatasync', 'fsync, fdatasync'),
  (4, 'io_uring_enter', 'io_uring_enter'));
CREATE TEMP TABLE counted AS
SELECT step, coalesce(place, 5) AS place, coalesce(label, 'others (input, locks)') AS label,
       total(count) FILTER (WHERE side = :a) AS a, total(count) FILTER (WHERE side = :b) AS b
  FROM calls LEFT JOIN kind USING (name) GROUP BY 1, 2, 3;
SELECT char(10) || printf('%-30s %12s %12s    %s', 'System calls', :a, :b, 'ratio') FROM calls LIMIT 1;
SELECT printf('  %-28s %,12d %,12d    %s', CASE c.place WHEN 1 THEN step || ': ' ELSE '       ' END || label, a, b,
              CASE WHEN a > 0 AND b > 0 THEN printf('%5.2f', a / b) ELSE '    -' END)
  FROM (SELECT * FROM counted UNION ALL SELECT step, 9, 'all', sum(a), sum(b) FROM counted GROUP BY step) AS c
  JOIN step AS s USING (step) WHERE a + b > 0 ORDER BY s.place, c.place;
SELECT printf('  ratio: %s / %s; above 1, %s makes fewer. What goes through the ring is counted below.', :a, :b, :b) FROM calls LIMIT 1;

-- Batches, from PRAGMA uring_stats of the last run.
SELECT char(10) || printf('%-30s %12s %12s %12s', 'Batches (PRAGMA uring_stats)', 'store', 'index', 'query') FROM stats LIMIT 1;
CREATE TEMP TABLE metric AS SELECT column1 AS place, column2 AS label, column3 AS format, column4 AS over, column5 AS other FROM (VALUES
  (1, 'WAL batches', '%,12d', '$.wal_batches', NULL),
  (2, 'WAL frames in a batch, mean', '%,12.1f', '$.wal_batch_frames', '$.wal_batches'),
  (3, 'KiB in a batch, mean', '%,12.1f', '$.wal_batch_bytes', '$.wal_batches'),
  (4, 'reads on the ring', '%,12d', '$.reads', '$.reads_inline'),
  (5, 'reads inline', '%,12d', '$.reads_inline', NULL),
  (6, 'writes on the ring', '%,12d', '$.writes', '$.writes_inline'),
  (7, 'writes inline', '%,12d', '$.writes_inline', NULL),
  (8, 'syncs on the ring', '%,12d', '$.syncs', '$.syncs_inline'),
  (9, 'syncs inline', '%,12d', '$.syncs_inline', NULL));
SELECT printf('  %-28s', label)
    || group_concat(' ' || CASE WHEN other IS NULL THEN printf(format, json_extract(json, over))
                                WHEN label LIKE '% on the ring' THEN printf(format, json_extract(json, over) - json_extract(json, other))
                                WHEN json_extract(json, other) = 0 THEN '           -'
                                ELSE printf(format, 1.0 * json_extract(json, over) / json_extract(json, other)
                                                    / CASE WHEN over LIKE '%bytes' THEN 1024 ELSE 1 END) END, '')
  FROM (SELECT m.*, s.json FROM metric AS m JOIN stats AS s JOIN step AS p USING (step) ORDER BY m.place, p.place)
 GROUP BY label, place ORDER BY place;
SELECT '  io_uring: ' || json_extract(json, '$.ring') || ', backend ' || json_extract(json, '$.backend') FROM stats LIMIT 1;
