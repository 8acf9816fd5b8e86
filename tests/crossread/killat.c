// killat N PROGRAM ARGS...: runs PROGRAM and kills it with SIGKILL as it enters the Nth system call that can change a
// file, counted from the moment it writes a line starting with "go". The call itself is not made. So N = 1, 2, 3, ...
// visits every state of the files that a killed process can leave behind, as far as system calls tell them apart.
//
// N = 0 kills nothing and lists the calls on standard error, one a line.
//
// Exit status: 3 killed at N; 0 the program ended before; 4 it failed by itself; 77 ptrace is not permitted.

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/ptrace.h>

// Locks count too: between two of them the wal-index in shared memory changes, which no system call shows.
static const char *changes_a_file(const struct ptrace_syscall_info *info) {
  switch (info->entry.nr) {
  case SYS_pwrite64: return "pwrite64";
  case SYS_pwritev: return "pwritev";
  case SYS_pwritev2: return "pwritev2";
  case SYS_ftruncate: return "ftruncate";
  case SYS_fallocate: return "fallocate";
  case SYS_fsync: return "fsync";
  case SYS_fdatasync: return "fdatasync";
  case SYS_sync_file_range: return "sync_file_range";
  case SYS_unlinkat: return "unlinkat";
#ifdef SYS_unlink
  case SYS_unlink: return "unlink";
#endif
  case SYS_io_uring_enter: return "io_uring_enter";
  case SYS_openat: return info->entry.args[2] & O_CREAT ? "openat(O_CREAT)" : NULL;
  case SYS_fcntl: return info->entry.args[1] == F_SETLK || info->entry.args[1] == F_OFD_SETLK ? "fcntl(lock)" : NULL;
  default: return NULL;
  }
}

static int writes_go(pid_t pid, const struct ptrace_syscall_info *info) {
  if (info->entry.nr != SYS_write) return 0;
  errno = 0;
  long word = ptrace(PTRACE_PEEKDATA, pid, (void *)info->entry.args[1], NULL);
  return errno == 0 && memcmp(&word, "go", 2) == 0;
}

int main(int argc, char **argv) {
  if (argc < 3) return fprintf(stderr, "usage: killat N PROGRAM ARGS...\n"), 2;
  long wanted = atol(argv[1]), seen = 0;
  int counting = 0;
  pid_t pid = fork();
  if (pid == 0) {
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0) _exit(77);
    execvp(argv[2], argv + 2);
    _exit(127);
  }
  int status;
  if (waitpid(pid, &status, 0) < 0 || WIFEXITED(status)) return WEXITSTATUS(status) == 77 ? 77 : 4;
  if (ptrace(PTRACE_SETOPTIONS, pid, NULL, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL) != 0) {
    kill(pid, SIGKILL);
    return 77;
  }
  int deliver = 0;
  for (;;) {
    if (ptrace(PTRACE_SYSCALL, pid, NULL, (void *)(long)deliver) != 0) return 4;
    if (waitpid(pid, &status, 0) < 0) return 4;
    if (WIFEXITED(status) || WIFSIGNALED(status)) {
      return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : 4;
    }
    deliver = 0;
    if (WSTOPSIG(status) != (SIGTRAP | 0x80)) {
      deliver = WSTOPSIG(status) == SIGTRAP ? 0 : WSTOPSIG(status);
      continue;
    }
    struct ptrace_syscall_info info;
    if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, (void *)sizeof info, &info) <= 0) return 77;
    if (info.op != PTRACE_SYSCALL_INFO_ENTRY) continue;
    if (!counting) {
      counting = writes_go(pid, &info);
      continue;
    }
    const char *name = changes_a_file(&info);
    if (!name) continue;
    if (wanted == 0) fprintf(stderr, "%s\n", name);
    if (++seen != wanted) continue;
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    fprintf(stderr, "killed at %s\n", name);
    return 3;
  }
}
