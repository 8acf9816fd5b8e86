/*
** support_script.h - SQL scripts, each run in a process of its own over a VFS of support_shim.h.
*/
#ifndef TESTS_CALLS_SUPPORT_SCRIPT_H
#define TESTS_CALLS_SUPPORT_SCRIPT_H

#include "support_shim.h"

/*
** A statement is a line. One that begins with 2: is run on a second connection, opened at its first statement. Instead
** of SQL: "close" (the connection), "backup" (into another file), "blob" (incremental writing), "one row" (a statement
** that is stopped).
*/
typedef struct script {
  const char *name;
  const char *lines;
} script;

extern const script scripts[];
extern const unsigned script_count;

/* Runs it on this database, a name or a URI. What came of each statement is written to `to`. */
void script_run(const script *s, const char *vfs, const char *database, FILE *to);

/* A directory to work in, below TMPDIR; removed by remove_tree(). */
void make_directory(char *path, size_t size);
void remove_tree(const char *path);
/* Calls body(arg) in a child process, in this directory. Returns what waitpid says. */
int in_child(const char *directory, void (*body)(void *arg), void *arg);
/* The whole file, malloc'd, with a 0 behind it; NULL: it is not there. */
char *read_whole(const char *path, size_t *size);
/* Do both texts say the same? Prints the first difference, with what comes before it. */
bool same_text(const char *what, const char *expected, const char *got);

#endif
