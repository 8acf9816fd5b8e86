// The VFS "uring" from Node, with better-sqlite3 (its own, newer SQLite inside).
//
//     ./setup.sh                                  once: builds better-sqlite3 from source
//     node notes.js ../../../build/uringvfs.so notes.db
//
// better-sqlite3 opens no URIs, so the entry point that makes uring the default VFS is loaded: every database that is
// opened afterwards goes through it.
'use strict';
const { createRequire } = require('node:module');
const path = require('node:path');

if (process.argv.length !== 4) {
  console.error('usage: node notes.js EXTENSION DATABASE');
  process.exit(2);
}
const [extension, file] = process.argv.slice(2);

// NOTES_MODULES: where setup.sh put node_modules; your own program just says require('better-sqlite3').
const modules = process.env.NOTES_MODULES || path.join(__dirname, '../../../build/node');
const Database = createRequire(path.join(path.resolve(modules), 'notes.js'))('better-sqlite3');

const loader = new Database(':memory:');
loader.loadExtension(path.resolve(extension), 'sqlite3_uringvfs_default_init');
loader.close();

const db = new Database(file);
console.log(db.pragma('journal_mode = wal', { simple: true }));
db.exec('CREATE TABLE IF NOT EXISTS note(id INTEGER PRIMARY KEY, text TEXT NOT NULL)');
const insert = db.prepare('INSERT INTO note(text) VALUES (?)');
db.transaction((texts) => texts.forEach((text) => insert.run(text)))(['written from Node', 'through vfs=uring']);
for (const { id, text } of db.prepare('SELECT * FROM note').all()) console.log(`${id}  ${text}`);
console.log(db.pragma('uring_stats', { simple: true }));
db.close();
