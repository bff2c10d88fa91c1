/* SPDX-License-Identifier: Apache-2.0
 *
 * The plain entries of a layer, from a tar stream into a directory. Whatever is not plain (a whiteout, a device,
 * xattrs, a name that exists, a missing parent, anything malformed) is ODD: left untouched for the caller, whose rules
 * are the whole of it (minirt/image/unpack.py). What is made here is what they would have made. */
#ifndef MRT_UNPACK_H
#define MRT_UNPACK_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MRT_NAME_LIMIT = 4095, MRT_PARENTS = 16 };

enum mrt_unpack_state {
    MRT_UNPACK_MORE,  /* the data ends inside a file or a header: what was not used comes again, with more behind it */
    MRT_UNPACK_ODD,   /* the entry at this place is the caller's */
    MRT_UNPACK_END,   /* the archive ends here */
    MRT_UNPACK_ENTRY, /* only between unpack_header.c and unpack.c */
};

/* One plain entry. path and the target of a hard link are components with single slashes; base is where the last
 * component of path begins. A symlink's target stands as it was. */
struct mrt_entry {
    char kind; /* '0' file, '1' hard link, '2' symlink, '5' directory */
    uint32_t mode, uid, gid;
    uint64_t size;
    int64_t mtime_ns;
    size_t head; /* bytes of all its headers */
    size_t path_length, link_length, base, link_base;
    char path[MRT_NAME_LIMIT + 1], link[MRT_NAME_LIMIT + 1];
};

/* An open directory that a path led to. */
struct mrt_parent {
    char *path;
    size_t length;
    uint64_t used;
    int fd;
    bool hands_down_group;
};

struct mrt_unpack {
    int root;
    int file; /* that data goes to, or -1 */
    uint32_t own_uid, own_gid;
    uint64_t left, padding;
    uint64_t entries, limit;
    uint64_t clock;
    bool root_hands_down_group, file_inherits_group;
    struct mrt_entry entry;
    struct mrt_parent parents[MRT_PARENTS];
    char *notes; /* of directories: int64_t mtime_ns, uint16_t length, uint8_t implicit, the path */
    size_t notes_size, notes_room, notes_limit;
};

/* Allocates; NULL with errno. `root` stays the caller's. */
struct mrt_unpack *mrt_unpack_new(int root, uint64_t limit, size_t notes_limit);
void mrt_unpack_free(struct mrt_unpack *unpack);

/* Takes in what it can. Returns a state, with the bytes used in *used; or -1 with errno where making
 * unpack->entry.path failed half-way. Runs as root on the host; the layer's bytes are hostile. */
int mrt_unpack_feed(struct mrt_unpack *unpack, const uint8_t *data, size_t size, size_t *used);

/* The caller has changed the tree: what paths led to may lie elsewhere now. */
void mrt_unpack_forget(struct mrt_unpack *unpack);

/* Notes a directory: one that was described, with its time, or one that was only implied. */
int mrt_unpack_note(struct mrt_unpack *unpack, const char *path, size_t length, int64_t mtime_ns, bool implicit);

/* Gives the noted directories their times; one that is none any more goes without. */
void mrt_unpack_finish(struct mrt_unpack *unpack);

/* unpack_header.c: reads the headers of one entry; ENTRY, MORE, ODD or END. Pure. */
enum mrt_unpack_state mrt_header_read(const uint8_t *data, size_t size, struct mrt_entry *entry);

/* unpack_make.c: makes unpack->entry, a file without its content: 1, 0 where it is odd, or -1 with errno. */
int mrt_make(struct mrt_unpack *unpack);
int mrt_make_end_of_file(struct mrt_unpack *unpack);
#endif
