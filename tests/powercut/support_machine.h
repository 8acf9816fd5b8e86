/*
** support_machine.h - the disk, a loop device on it, a file system on that: what has to be set up, and undone.
**
** All mounts are made in a mount namespace of this process, the loop device is one that goes with its last user, and
** the disk ends when it is unmounted. So even SIGKILL leaves no mount, device or process behind. The disk itself stays
** outside the namespace: as its last member it would have to unmount, when it ends, what only it can serve, and wait
** for itself.
*/
#ifndef POWERCUT_MACHINE_H
#define POWERCUT_MACHINE_H

#include <sys/types.h>

#include "support_log.h"

typedef struct file_system {
  const char *name;
  uint64_t disk_bytes;
  const char *mkfs;     /* without TRIM: the disk is empty */
  const char *mkfs_512; /* on a disk with sectors of 512 bytes; NULL: would not survive torn blocks of its own */
} file_system;

typedef struct machine {
  const file_system *fs;
  char directory[200]; /* for all of this */
  char mount[256];     /* where the file system goes */
  char device[64];
  int loop; /* open while the device is ours */
  pid_t disk;
  bool disk_mounted, mounted;
  disk_log log;
} machine;

const file_system *machine_file_system(const char *name);

/* "" or what is missing on this machine. Enters the namespace. */
const char *machine_missing(const char *const *file_systems, int count, const char *disk_program);

/* Each says on stderr what went wrong. Whatever came of it, machine_stop undoes it. */
bool machine_start(machine *m, const char *disk_program, const char *log_path);
bool machine_make_fs(machine *m);
bool machine_mount(machine *m);
bool machine_unmount(machine *m);
bool machine_cut(machine *m, const disk_cut *cut);
void machine_stop(machine *m);

#endif
