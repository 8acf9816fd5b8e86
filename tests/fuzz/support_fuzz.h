/*
** support_fuzz.h - what the fuzz targets share: bytes of the input, two directories, how a finding is reported.
**
** A target that opens files does the same thing twice, through the default VFS in one directory and through uring in
** another, and compares.
*/
#ifndef TESTS_FUZZ_SUPPORT_H
#define TESTS_FUZZ_SUPPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sqlite3.h>

enum { SIDE_DEFAULT, SIDE_URING, SIDES };

/* The name of the default VFS, and "uring", or what URINGVFS_TEST_VFS puts in its place. */
extern const char *fuzz_vfs[SIDES];
/* Absolute paths: below FUZZ_DIR, or /dev/shm where that is writable, or TMPDIR. Removed at exit. */
extern char fuzz_dir[SIDES][256];
/* Messages of uringvfs in sqlite3_log() so far. */
extern unsigned fuzz_messages;
/* Is io_uring to be had here? */
extern bool fuzz_rings;
/* FUZZ_TRACE=1: say what is done. */
extern bool fuzz_tracing;

/* From LLVMFuzzerInitialize. A target that opens no files needs the first alone. */
void fuzz_start_tracing(void);
void fuzz_start(void);

/* Both directories must hold files of the same names; then they are emptied. */
void fuzz_clean(void);
void fuzz_empty(int side);

/* The input, taken byte by byte; zeros when it is used up. */
typedef struct fuzz_input {
  const uint8_t *data;
  size_t left;
} fuzz_input;

uint8_t fuzz_byte(fuzz_input *in);
uint16_t fuzz_word(fuzz_input *in);
/* Up to `bytes` of what is left. */
size_t fuzz_take(fuzz_input *in, const uint8_t **data, size_t bytes);

/* Big-endian. */
void fuzz_put32(uint8_t *at, uint32_t value);

/* auto, uring (where it can be had) or sync. */
const char *fuzz_backend(uint8_t byte);

void fuzz_trace(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Reports a difference and ends the process, which makes the input a finding. */
_Noreturn void fuzz_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
#define FUZZ_CHECK(condition, ...) ((condition) ? (void)0 : fuzz_fail(__VA_ARGS__))

/* For the image of a file. bytes may be 0. */
void fuzz_write_file(int side, const char *name, const void *data, size_t bytes);
/* The first FUZZ_READ_MAX bytes, malloc'd, and how many the file has (sparse ones have many); NULL and -1 if there is
** no such file. */
#define FUZZ_READ_MAX (16 << 20)
uint8_t *fuzz_read_file(int side, const char *name, long *bytes);

int LLVMFuzzerInitialize(const int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
