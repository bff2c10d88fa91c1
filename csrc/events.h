/* SPDX-License-Identifier: Apache-2.0
 *
 * <state>/events: what happened to containers, images, networks and volumes, one JSON object a line.
 *
 *     {"timeNano":1767366245123456789,"Type":"container","Action":"die","ID":"…","Attributes":{"exitCode":"0",…}}
 *
 * Everybody who writes appends by one write(2) with O_APPEND, so lines never mix. At MRT_EVENTS_LIMIT events becomes
 * events.1, and what that was is forgotten: the file is bounded whoever writes it. */
#ifndef MRT_EVENTS_H
#define MRT_EVENTS_H
#include <stddef.h>
#include <stdint.h>

#define MRT_EVENTS_LIMIT (1 << 20)

/* Appends `size` bytes of whole lines to the file at `path`, then rotates it if it has reached `limit`. 0, or -1 with
 * errno: nothing was written, or (ENOSPC) a part that a reader passes over. */
int mrt_events_append(const char *path, const char *lines, size_t size, uint64_t limit);
#endif
