/* SPDX-License-Identifier: Apache-2.0
 *
 * Makes plain entries below a layer's directory. Runs as root on the host. Parents are opened by openat2(2) with
 * RESOLVE_IN_ROOT: a planted symlink leads somewhere inside. The last component is never followed: files are made
 * with O_EXCL, directories opened with O_NOFOLLOW, owners and times of symlinks set on themselves. Owner comes before
 * mode, because chown(2) clears set-id bits. Nothing that exists is replaced or removed here. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "syscalls.h"
#include "unpack.h"

static int open_in_root(int root, const char *path, uint64_t flags)
{
    struct open_how how = {.flags = flags | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
    long fd = -1;
    for (int tries = 0; tries < 64; tries++) {
        fd = syscall(SYS_openat2, root, path, &how, sizeof how);
        if (fd >= 0 || (errno != EAGAIN && errno != EINTR))
            break;
    }
    return (int)fd;
}

static void drop(struct mrt_parent *parent)
{
    if (parent->path) {
        close(parent->fd);
        free(parent->path);
        memset(parent, 0, sizeof *parent);
    }
}

void mrt_unpack_forget(struct mrt_unpack *unpack)
{
    struct stat there;
    for (int i = 0; i < MRT_PARENTS; i++)
        drop(&unpack->parents[i]);
    unpack->root_hands_down_group = fstat(unpack->root, &there) || there.st_mode & S_ISGID;
}

static struct mrt_parent *open_parent(struct mrt_unpack *unpack, struct mrt_parent *place, const char *path,
                                      size_t length)
{
    struct stat there;
    drop(place);
    char *kept = strndup(path, length);
    if (!kept)
        return NULL;
    place->fd = open_in_root(unpack->root, kept, O_PATH | O_DIRECTORY);
    if (place->fd < 0) {
        free(kept);
        return NULL;
    }
    place->path = kept;
    place->length = length;
    place->hands_down_group = fstat(place->fd, &there) || there.st_mode & S_ISGID;
    return place;
}

/* The directory of a path's first `length` bytes, good until the next but one call; NULL: it is not there. */
static const struct mrt_parent *parent_of(struct mrt_unpack *unpack, const char *path, size_t length)
{
    struct mrt_parent *oldest = unpack->parents, *found = NULL;
    for (int i = 0; i < MRT_PARENTS && !found; i++) {
        struct mrt_parent *parent = &unpack->parents[i];
        if (parent->path && parent->length == length && !memcmp(parent->path, path, length))
            found = parent;
        else if (parent->used < oldest->used)
            oldest = parent;
    }
    if (!found)
        found = open_parent(unpack, oldest, path, length);
    if (found)
        found->used = ++unpack->clock;
    return found;
}

struct place {
    int directory;
    bool hands_down_group;
    const char *name;
};

static bool find(struct mrt_unpack *unpack, const char *path, size_t base, struct place *place)
{
    place->name = path + base;
    place->directory = unpack->root;
    place->hands_down_group = unpack->root_hands_down_group;
    if (!base)
        return true;
    const struct mrt_parent *parent = parent_of(unpack, path, base - 1);
    if (!parent)
        return false;
    place->directory = parent->fd;
    place->hands_down_group = parent->hands_down_group;
    return true;
}

static void times_of(int64_t mtime_ns, struct timespec times[2])
{
    int64_t seconds = mtime_ns / 1000000000, rest = mtime_ns % 1000000000;
    if (rest < 0) {
        rest += 1000000000;
        seconds--;
    }
    times[0] = times[1] = (struct timespec){.tv_sec = seconds, .tv_nsec = (long)rest};
}

static bool owned(const struct mrt_unpack *unpack, bool inherits)
{
    const struct mrt_entry *entry = &unpack->entry;
    return !inherits && entry->uid == unpack->own_uid && entry->gid == unpack->own_gid;
}

static int make_file(struct mrt_unpack *unpack, const struct place *place)
{
    int fd = openat(place->directory, place->name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return 0;
    unpack->file = fd;
    unpack->file_inherits_group = place->hands_down_group;
    unpack->left = unpack->entry.size;
    unpack->padding = -unpack->entry.size % 512;
    return 1;
}

int mrt_make_end_of_file(struct mrt_unpack *unpack)
{
    const struct mrt_entry *entry = &unpack->entry;
    struct timespec times[2];
    times_of(entry->mtime_ns, times);
    int failed = (!owned(unpack, unpack->file_inherits_group) && fchown(unpack->file, entry->uid, entry->gid)) ||
                 fchmod(unpack->file, entry->mode) || futimens(unpack->file, times);
    int error = errno;
    close(unpack->file);
    unpack->file = -1;
    errno = error;
    return failed ? -1 : 0;
}

/* A directory entry on a directory only changes what describes it. */
static int make_directory(struct mrt_unpack *unpack, const struct place *place)
{
    const struct mrt_entry *entry = &unpack->entry;
    struct stat there;
    bool made = !mkdirat(place->directory, place->name, 0700);
    if (!made && errno != EEXIST)
        return 0;
    int fd = openat(place->directory, place->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return made ? -1 : 0;
    int failed = fstat(fd, &there);
    if (!failed && (there.st_uid != entry->uid || there.st_gid != entry->gid))
        failed = fchown(fd, entry->uid, entry->gid);
    if (!failed && (there.st_mode & 07777) != entry->mode)
        failed = fchmod(fd, entry->mode);
    int error = errno;
    close(fd);
    errno = error;
    if (failed)
        return -1;
    for (int i = 0; i < MRT_PARENTS; i++) /* it may hand down its group from now on, whatever path leads to it */
        if (unpack->parents[i].path && entry->mode & S_ISGID)
            drop(&unpack->parents[i]);
    return mrt_unpack_note(unpack, entry->path, entry->path_length, entry->mtime_ns, false) ? -1 : 1;
}

static int make_symlink(struct mrt_unpack *unpack, const struct place *place)
{
    const struct mrt_entry *entry = &unpack->entry;
    struct timespec times[2];
    times_of(entry->mtime_ns, times);
    if (symlinkat(entry->link, place->directory, place->name))
        return 0;
    if (!owned(unpack, place->hands_down_group) &&
        fchownat(place->directory, place->name, entry->uid, entry->gid, AT_SYMLINK_NOFOLLOW))
        return -1;
    return utimensat(place->directory, place->name, times, AT_SYMLINK_NOFOLLOW) ? -1 : 1;
}

/* To an entry of this layer, to the symlink itself where it is one; never to a directory or a whiteout. */
static int make_link(struct mrt_unpack *unpack, const struct place *place)
{
    const struct mrt_entry *entry = &unpack->entry;
    struct place target;
    struct stat there;
    if (!strcmp(entry->link, entry->path) || !find(unpack, entry->link, entry->link_base, &target) ||
        fstatat(target.directory, target.name, &there, AT_SYMLINK_NOFOLLOW) || S_ISDIR(there.st_mode) ||
        (S_ISCHR(there.st_mode) && there.st_rdev == makedev(0, 0)))
        return 0;
    return !linkat(target.directory, target.name, place->directory, place->name, 0);
}

int mrt_make(struct mrt_unpack *unpack)
{
    struct place place;
    if (!find(unpack, unpack->entry.path, unpack->entry.base, &place))
        return 0;
    switch (unpack->entry.kind) {
    case '0':
        return make_file(unpack, &place);
    case '1':
        return make_link(unpack, &place);
    case '2':
        return make_symlink(unpack, &place);
    default:
        return make_directory(unpack, &place);
    }
}

void mrt_unpack_finish(struct mrt_unpack *unpack)
{
    char path[MRT_NAME_LIMIT + 1];
    for (size_t at = 0; at < unpack->notes_size;) {
        int64_t mtime_ns;
        uint16_t length;
        struct timespec times[2];
        memcpy(&mtime_ns, unpack->notes + at, sizeof mtime_ns);
        memcpy(&length, unpack->notes + at + 8, sizeof length);
        bool implicit = unpack->notes[at + 10];
        memcpy(path, unpack->notes + at + 11, length);
        path[length] = 0;
        at += 11 + (size_t)length;
        int fd = implicit ? -1 : open_in_root(unpack->root, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
        if (fd < 0)
            continue;
        times_of(mtime_ns, times);
        futimens(fd, times);
        close(fd);
    }
}
