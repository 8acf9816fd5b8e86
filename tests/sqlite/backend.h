/*
** backend.h - included before register.c in the build of SQLite's test programs: the default of uring_backend is a
** variable there (init.c sets it).
*/
#ifndef URINGVFS_CHECK_BACKEND_H
#define URINGVFS_CHECK_BACKEND_H

#include "rt.h"

#define URINGVFS_DEFAULT_BACKEND uringvfs_check_backend
extern rt_backend_choice uringvfs_check_backend;

#endif
