/* SPDX-License-Identifier: Apache-2.0
 *
 * The loop over a layer's bytes: headers to unpack_header.c, entries to unpack_make.c, content into the open file. One
 * call works off one chunk, in the thread that calls it, without the interpreter's lock. */
#define _GNU_SOURCE
#include "unpack.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NOTE_HEAD = 11 };

struct mrt_unpack *mrt_unpack_new(int root, uint64_t limit, size_t notes_limit)
{
    struct mrt_unpack *unpack = calloc(1, sizeof *unpack);
    if (!unpack)
        return NULL;
    unpack->root = root;
    unpack->file = -1;
    unpack->own_uid = geteuid();
    unpack->own_gid = getegid();
    unpack->limit = limit;
    unpack->notes_limit = notes_limit;
    mrt_unpack_forget(unpack);
    return unpack;
}

void mrt_unpack_free(struct mrt_unpack *unpack)
{
    mrt_unpack_forget(unpack);
    if (unpack->file >= 0)
        close(unpack->file);
    free(unpack->notes);
    free(unpack);
}

int mrt_unpack_note(struct mrt_unpack *unpack, const char *path, size_t length, int64_t mtime_ns, bool implicit)
{
    size_t size = NOTE_HEAD + length;
    uint16_t short_length = (uint16_t)length;
    if (length > MRT_NAME_LIMIT) {
        errno = ENAMETOOLONG;
        return -1;
    }
    if (unpack->notes_size + size > unpack->notes_limit) {
        errno = EOVERFLOW;
        return -1;
    }
    if (unpack->notes_size + size > unpack->notes_room) {
        size_t room = 2 * unpack->notes_room + 8192;
        char *larger = realloc(unpack->notes, room);
        if (!larger)
            return -1;
        unpack->notes = larger;
        unpack->notes_room = room;
    }
    char *to = unpack->notes + unpack->notes_size;
    memcpy(to, &mtime_ns, sizeof mtime_ns);
    memcpy(to + 8, &short_length, sizeof short_length);
    to[10] = implicit;
    memcpy(to + NOTE_HEAD, path, length);
    unpack->notes_size += size;
    return 0;
}

/* Content of the open file, then the padding behind it; the bytes used, or -1. */
static ssize_t store(struct mrt_unpack *unpack, const uint8_t *data, size_t size)
{
    size_t used = 0;
    while (unpack->left && used < size) {
        size_t wanted = unpack->left < size - used ? (size_t)unpack->left : size - used;
        ssize_t written = write(unpack->file, data + used, wanted);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return -1;
        used += (size_t)written;
        unpack->left -= (uint64_t)written;
    }
    if (unpack->file >= 0 && !unpack->left && mrt_make_end_of_file(unpack))
        return -1;
    size_t skipped = unpack->padding < size - used ? (size_t)unpack->padding : size - used;
    if (unpack->left)
        return (ssize_t)used;
    unpack->padding -= skipped;
    return (ssize_t)(used + skipped);
}

int mrt_unpack_feed(struct mrt_unpack *unpack, const uint8_t *data, size_t size, size_t *used)
{
    for (*used = 0;;) {
        ssize_t stored = store(unpack, data + *used, size - *used);
        if (stored < 0)
            return -1;
        *used += (size_t)stored;
        if (unpack->left || unpack->padding)
            return MRT_UNPACK_MORE;
        if (unpack->entries >= unpack->limit)
            return MRT_UNPACK_ODD;
        enum mrt_unpack_state state = mrt_header_read(data + *used, size - *used, &unpack->entry);
        if (state != MRT_UNPACK_ENTRY)
            return (int)state;
        int made = mrt_make(unpack);
        if (made < 0)
            return -1;
        if (!made)
            return MRT_UNPACK_ODD;
        unpack->entries++;
        *used += unpack->entry.head;
    }
}
