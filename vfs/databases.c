/*
** databases.c - the list of all open database files of the process.
**
** Two things need it: a WAL that is opened looks for the database file it belongs to, and a child process deals with what it
** inherited (fork.c). A process may have tens of thousands open: removing one takes no search.
*/
#include "internal.h"

#include <string.h>

static pthread_mutex_t list_mutex = PTHREAD_MUTEX_INITIALIZER;
static uringvfs_file *list;

void uringvfs__databases_lock(void) { pthread_mutex_lock(&list_mutex); }
void uringvfs__databases_unlock(void) { pthread_mutex_unlock(&list_mutex); }
uringvfs_file *uringvfs__databases_first(void) { return list; }

void uringvfs__databases_add(uringvfs_file *f) {
  pthread_mutex_lock(&list_mutex);
  f->next_database = list;
  f->link_to_database = &list;
  if (list != NULL) list->link_to_database = &f->next_database;
  list = f;
  pthread_mutex_unlock(&list_mutex);
}

void uringvfs__databases_remove(uringvfs_file *f) {
  pthread_mutex_lock(&list_mutex);
  *f->link_to_database = f->next_database;
  if (f->next_database != NULL) f->next_database->link_to_database = f->link_to_database;
  pthread_mutex_unlock(&list_mutex);
}

static bool is_wal_of(const char *name, const uringvfs_file *database) {
  const size_t length = strlen(database->name);
  return strncmp(name, database->name, length) == 0 && strcmp(name + length, "-wal") == 0 &&
         sqlite3_filename_wal(database->name) == name;
}

/*
** The pager keeps the names of a connection's files in one piece of memory (pager.c, sqlite3PagerOpen), so the WAL's name, as a pointer,
** tells which of several connections to a database opens it. sqlite3_database_file_object() would answer the same, but reads memory
** that is not there when a program calls xOpen with a name of its own, and returns the outermost of several shims.
*/
uringvfs_file *uringvfs__database_of_wal(const char *name) {
  pthread_mutex_lock(&list_mutex);
  uringvfs_file *f = list;
  while (f != NULL && !is_wal_of(name, f)) f = f->next_database;
  pthread_mutex_unlock(&list_mutex);
  return f;
}
