/*
** cases.h - each case in a process of its own, in which nothing has used SQLite before and there is one thread. A check
** that fails there ends it, and fails the test.
*/
#ifndef TESTS_LOST_CASES_H
#define TESTS_LOST_CASES_H

#include "../process/support.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

UNUSED static pid_t process_start(void) {
  fflush(NULL);
  const pid_t pid = fork();
  if (pid != 0) return pid;
  setenv("CMOCKA_TEST_ABORT", "1", 1); /* a failed check must not go on with the parent's tests */
  return 0;
}

/* Returns whether it ended well. */
UNUSED static bool process_ended(pid_t pid) {
  int status = -1;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (status != 0) fprintf(stderr, "process %d ended with 0x%x\n", (int)pid, (unsigned)status);
  return status == 0;
}

/* Returns whether the case went well. */
UNUSED static bool run_case(void (*run)(const void *), const void *arg) {
  const pid_t pid = process_start();
  if (pid == 0) {
    support_sqlite();
    run(arg);
    _exit(0);
  }
  return process_ended(pid);
}

static void *idle(void *arg) {
  (void)arg;
  while (pause() != 0) {
  }
  return NULL;
}

/* Another thread, as long as the process lives. */
UNUSED static void start_idle_thread(void) {
  pthread_t thread;
  assert_int_equal(pthread_create(&thread, NULL, idle, NULL), 0);
  pthread_detach(thread);
}

#endif
