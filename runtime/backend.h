/*
** backend.h - the table behind which a loop's backend sits, and the table of the system calls it makes.
**
** A backend is asked for attempts: one request to the device, ending with what the system call would return. Everything
** that makes an operation out of attempts (resuming, repeating, order, deadlines, callbacks) is the loop's and the same
** for all. All functions but wake are called by the thread that uses the loop.
*/
#ifndef RT_BACKEND_H
#define RT_BACKEND_H

#include "internal.h"

#include <sys/types.h>

struct io_uring;
struct io_uring_params;

struct rt__backend {
  const char *name;
  /* NULL in a backend that only has `call` (synchronous). */

  /* Can it start attempts of this kind at all? */
  bool (*can)(const rt_loop *loop, rt_kind kind);
  /* Queues an attempt; it ends in rt__attempt_done, called by reap. False: no room before the next enter. link: it
  ** shall run after the attempt queued just before has fully succeeded; false also if that one is gone already. */
  bool (*start)(rt_loop *loop, rt_op *op, bool link);
  /* Hands over what is queued and waits for wait_nr ended attempts (0: none), until until_ns (0: for ever), or for
  ** wake. May return early at any time. */
  void (*enter)(rt_loop *loop, unsigned wait_nr, uint64_t until_ns);
  /* Calls rt__attempt_done for at most max ended attempts. Returns how many. */
  unsigned (*reap)(rt_loop *loop, unsigned max);
  /* Asks for the started attempt of op to be cancelled; it still ends through reap. */
  void (*cancel)(rt_loop *loop, rt_op *op);
  /* Before an enter that is to be wakeable. False: it cannot be, and must not sleep long. NULL: nothing to do. */
  bool (*arm)(rt_loop *loop);
  /* Any thread, while loop->asleep: makes a wakeable enter return. */
  void (*wake)(rt_loop *loop);
  /* Nothing is in flight. Frees the loop. */
  void (*close)(rt_loop *loop);

  /* One attempt, here and now. */
  int64_t (*call)(rt_loop *loop, rt_op *op);
  uint64_t (*now_ns)(rt_loop *loop);
};

/* The system calls, replaceable by tests. All return -errno instead of setting errno. */
typedef struct rt__calls {
  int64_t (*read)(int fd, void *buf, uint64_t length, int64_t offset); /* offset -1: the file's own */
  int64_t (*write)(int fd, const void *buf, uint64_t length, int64_t offset);
  int64_t (*readv)(int fd, const struct iovec *iov, unsigned count, int64_t offset);
  int64_t (*writev)(int fd, const struct iovec *iov, unsigned count, int64_t offset);
  int (*fsync)(int fd);
  int (*fdatasync)(int fd);
  int (*truncate)(int fd, uint64_t size);
  int (*allocate)(int fd, unsigned mode, uint64_t offset, uint64_t length);
  int (*advise)(int fd, uint64_t offset, uint64_t length, unsigned advice);
  int (*open)(const char *path, unsigned flags, unsigned mode);
  int (*close)(int fd);
  int (*sleep_until)(uint64_t until_ns);
  uint64_t (*now_ns)(void);
  int (*uring_setup)(unsigned entries, struct io_uring *ring, struct io_uring_params *params);
  int (*uring_enter)(int fd, unsigned submit, unsigned wait_nr, unsigned flags, void *arg, size_t size);
} rt__calls;

/* The same file under a descriptor that is not 0, 1 or 2; fd itself is closed then. A negative errno on failure. */
int rt__above_stdio(int fd);

/* The kernel's. */
extern const rt__calls rt__kernel_calls;
/* What the product's backends use; tests point it elsewhere while no loop is in use. */
extern const rt__calls *rt__calls_now;

extern const rt__backend rt__sync_backend;
int64_t rt__sync_call(rt_loop *loop, rt_op *op);
uint64_t rt__sync_now(rt_loop *loop);

/* backend_uring.c. 0 or a negative errno. */
int rt__uring_open(rt_loop **loop, rt_backend_choice choice, const rt_loop_options *options);
/* Nothing is in flight. Takes back what `wake` needs, and gives the kernel's workers the time to let go of what they
** have done. */
void rt__uring_quiesce(rt_loop *loop);
/* In the child of a fork: close(2)s the descriptors, touches nothing else. Async-signal-safe. */
void rt__uring_forget(rt_loop *loop);

#endif
