/*
** shell.c - as much of the sqlite3 shell as the conformance scripts need, to be compiled together with an amalgamation
** that comes without a shell. Reads SQL and .open, .load, .connection, .print, .output, .shell, .timeout from standard
** input; any other dot command is reported as unknown and passed over. Rows are printed as the stock shell's list mode
** does.
*/
#include "sqlite3.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CONNECTIONS = 5 };
static sqlite3 *connections[CONNECTIONS];
static int current;
static FILE *out;

static void report(const char *what, const char *message) {
  fflush(out);
  fprintf(stderr, "%s: %s\n", what, message);
}

static void open_database(const char *name) {
  sqlite3_close(connections[current]);
  connections[current] = NULL;
  int rc =
      sqlite3_open_v2(name, &connections[current], SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI, NULL);
  if (rc != SQLITE_OK) {
    report(name, sqlite3_errmsg(connections[current]));
    sqlite3_close(connections[current]);
    sqlite3_open(":memory:", &connections[current]);
  }
  sqlite3_enable_load_extension(connections[current], 1);
}

static void run_statements(const char *sql, int line) {
  sqlite3 *db = connections[current];
  while (*sql) {
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(db, sql, -1, &statement, &sql);
    while (rc == SQLITE_OK && statement && (rc = sqlite3_step(statement)) == SQLITE_ROW) {
      for (int i = 0, n = sqlite3_column_count(statement); i < n; i++) {
        const char *text = (const char *)sqlite3_column_text(statement, i);
        fprintf(out, "%s%c", text ? text : "", i + 1 < n ? '|' : '\n');
      }
      rc = SQLITE_OK;
    }
    if (rc != SQLITE_OK && rc != SQLITE_DONE) {
      fflush(out);
      fprintf(stderr, "Runtime error near line %d: %s (%d)\n", line, sqlite3_errmsg(db), sqlite3_extended_errcode(db));
      sqlite3_finalize(statement);
      return;
    }
    sqlite3_finalize(statement);
  }
}

/* The rest of a line, without blanks at its ends and without quotes around it. */
static char *argument(char *text) {
  while (isspace((unsigned char)*text)) text++;
  size_t n = strlen(text);
  while (n > 0 && isspace((unsigned char)text[n - 1])) text[--n] = 0;
  if (n >= 2 && text[0] == '\'' && text[n - 1] == '\'') {
    text[n - 1] = 0;
    text++;
  }
  return text;
}

static void dot_command(char *line) {
  char *name = line + 1, *rest = name + strcspn(name, " \n");
  if (*rest) *rest++ = 0;
  rest = argument(rest);
  if (strcmp(name, "open") == 0) {
    open_database(rest);
  } else if (strcmp(name, "load") == 0) {
    char *message = NULL;
    if (sqlite3_load_extension(connections[current], rest, NULL, &message) != SQLITE_OK) report("load", message);
    sqlite3_free(message);
  } else if (strcmp(name, "connection") == 0) {
    int closing = strncmp(rest, "close ", 6) == 0, number = atoi(closing ? rest + 6 : rest);
    if (number < 0 || number >= CONNECTIONS) return;
    if (closing) {
      sqlite3_close(connections[number]);
      connections[number] = NULL;
    } else {
      current = number;
      if (!connections[number]) open_database(":memory:");
    }
  } else if (strcmp(name, "print") == 0) {
    fprintf(out, "%s\n", rest);
  } else if (strcmp(name, "output") == 0) {
    if (out != stdout) fclose(out);
    out = *rest ? fopen(rest, "w") : stdout;
    if (!out) out = stdout;
  } else if (strcmp(name, "shell") == 0) {
    fflush(out);
    if (system(rest) != 0) fprintf(stderr, "shell command failed\n");
  } else if (strcmp(name, "timeout") == 0) {
    sqlite3_busy_timeout(connections[current], atoi(rest));
  } else {
    report("unknown command", name);
  }
}

int main(void) {
  char *line = NULL, *sql = NULL;
  size_t capacity = 0;
  out = stdout;
  open_database(":memory:");
  for (int number = 1, first = 1; getline(&line, &capacity, stdin) > 0; number++) {
    if (!sql && line[0] == '.') {
      dot_command(line);
    } else {
      if (!sql) first = number;
      char *longer = sqlite3_mprintf("%s%s", sql ? sql : "", line);
      sqlite3_free(sql);
      sql = longer;
      if (!sqlite3_complete(sql) && strspn(sql, " \t\n") != strlen(sql)) {
        /* A line that is a comment is complete as well. */
        if (strncmp(sql, "--", 2) != 0 || sql[strlen(sql) - 1] != '\n' || strchr(sql, '\n') != sql + strlen(sql) - 1)
          continue;
      }
      run_statements(sql, first);
      sqlite3_free(sql);
      sql = NULL;
    }
    fflush(out);
  }
  free(line);
  for (int i = 0; i < CONNECTIONS; i++) sqlite3_close(connections[i]);
  return 0;
}
