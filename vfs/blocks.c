/*
** blocks.c - memory blocks of 1 MiB, for as long as a transaction writes or reads ahead.
**
** Process-wide, since few connections need one at a time. A few are kept, others go back to the system. Any thread.
*/
#include "internal.h"

#include <stdlib.h>

#define SPARE_BLOCKS 4

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static uint8_t *spare[SPARE_BLOCKS];
static unsigned spare_count;

uint8_t *uringvfs__block_get(void) {
  uint8_t *block = NULL;
  pthread_mutex_lock(&mutex);
  if (spare_count > 0) block = spare[--spare_count];
  pthread_mutex_unlock(&mutex);
  return block != NULL ? block : malloc(URINGVFS__BLOCK_BYTES);
}

void uringvfs__block_put(uint8_t *block) {
  pthread_mutex_lock(&mutex);
  if (spare_count < SPARE_BLOCKS) {
    spare[spare_count++] = block;
    block = NULL;
  }
  pthread_mutex_unlock(&mutex);
  free(block);
}

void uringvfs__blocks_before_fork(void) { pthread_mutex_lock(&mutex); }
void uringvfs__blocks_after_fork(void) { pthread_mutex_unlock(&mutex); }
