/*
** support_sync.h - counts the syncs that SQLite's own VFS asks for.
*/
#ifndef MODEL_SYNC_H
#define MODEL_SYNC_H

/* fsync and fdatasync of this process. */
long model_syncs(void);

#endif
