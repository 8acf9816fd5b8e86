/*
** uring.h - one io_uring as a loop's backend: shared by backend_uring.c (the ring) and direct.c (its table of direct descriptors).
*/
#ifndef RT_URING_H
#define RT_URING_H

#include "backend.h"

#include <liburing.h>

/* A place in the ring's file table. */
typedef struct rt__slot {
  uint64_t id;   /* of the rt_direct that is open here; 0: none */
  uint64_t used; /* when last, for choosing which to close      */
  unsigned pins; /* attempts in flight that use it              */
} rt__slot;

typedef struct rt__uring {
  rt_loop loop;
  struct io_uring ring;
  struct io_uring_sqe *last; /* the attempt queued last and not entered yet, for linking */
  int wake_fd;               /* eventfd, or -1: never needed yet                         */
  bool wake_armed;           /* a poll of it is in the ring                              */
  bool dead;                 /* io_uring_enter is forbidden from now on                  */
  bool worked;               /* worker threads of the kernel may have had requests       */
  uint64_t clock;            /* counts uses of slots                                     */
  int open_result;           /* of the direct open that is running; OPEN_RUNNING         */
  unsigned slot_count;
  rt__slot slots[];
} rt__uring;

#define RT__OPEN_RUNNING 1

/* user_data that is no operation's address */
enum { RT__UD_CANCEL = 0, RT__UD_WAKE = 1, RT__UD_OPEN = 2, RT__UD_PROBE = 3, RT__UD_LAST = 3 };

static inline rt__uring *rt__uring_of(rt_loop *loop) { return (rt__uring *)loop; }
_Static_assert(offsetof(rt__uring, loop) == 0, "a loop comes first in its backend");

/* A free submission queue entry, entering once if the queue is full. NULL: no room even so. */
struct io_uring_sqe *rt__uring_sqe(rt__uring *u);
/* direct.c: opens op's file in the table if it is not, sets op->slot. False: it cannot be used. */
bool rt__direct_prepare(rt__uring *u, rt_op *op);

#endif
