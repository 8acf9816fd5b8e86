/*
** scan.h - where the scans are, for predictors that follow what a scan passes.
*/
#ifndef URINGVFS_SCAN_H
#define URINGVFS_SCAN_H

#include "predictor.h"

/* A scan whose page asked for last is this one: its place, and the way it goes. False: there is none. */
bool uringvfs__scan_at(uringvfs__readahead *ra, uint32_t pgno, uringvfs__place *place, uringvfs__direction *direction);

#endif
