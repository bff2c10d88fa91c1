/* SPDX-License-Identifier: Apache-2.0
 *
 * The headers of one plain tar entry (POSIX.1-2001 pax(1), "ustar Interchange Format"): a ustar or GNU block, with at
 * most one PAX header before it. Reads hostile bytes, makes no system call, allocates nothing. Whatever it does not
 * take for granted is ODD, and minirt/image/header.py decides. */
#include <string.h>

#include "unpack.h"

enum { BLOCK = 512, PAX_LIMIT = 32 << 10 };
static const uint64_t TIME_LIMIT_S = 1ULL << 33;
static const uint64_t ID_LIMIT = (1ULL << 32) - 2;
static const int64_t SECOND_NS = 1000000000;

struct text {
    const char *at;
    size_t length;
};

/* The records that count, of length 0 where they are missing: an empty one means the same. */
struct pax {
    struct text path, linkpath, uid, gid, size, mtime;
};

static struct text field(const uint8_t *block, size_t at, size_t width)
{
    const char *start = (const char *)block + at;
    return (struct text){start, strnlen(start, width)};
}

/* Octal digits between spaces. Base 256 is odd. */
static bool octal(struct text text, uint64_t *value)
{
    while (text.length && text.at[0] == ' ')
        text.at++, text.length--;
    while (text.length && text.at[text.length - 1] == ' ')
        text.length--;
    *value = 0;
    for (size_t i = 0; i < text.length; i++) {
        if (text.at[i] < '0' || text.at[i] > '7')
            return false;
        *value = *value * 8 + (uint64_t)(text.at[i] - '0');
    }
    return true;
}

static bool decimal(struct text text, uint64_t *value)
{
    *value = 0;
    for (size_t i = 0; i < text.length; i++) {
        if (text.at[i] < '0' || text.at[i] > '9')
            return false;
        *value = *value * 10 + (uint64_t)(text.at[i] - '0');
    }
    return text.length > 0 && text.length <= 18;
}

static bool checksum_fits(const uint8_t *block)
{
    uint64_t stated, sum = 8 * ' ';
    for (size_t i = 0; i < BLOCK; i++)
        if (i < 148 || i >= 156)
            sum += block[i];
    return octal(field(block, 148, 8), &stated) && stated == sum;
}

/* [-]seconds[.fraction], cut to nanoseconds. */
static bool pax_time(struct text text, int64_t *time_ns)
{
    bool negative = text.length && text.at[0] == '-';
    if (negative)
        text.at++, text.length--;
    const char *point = memchr(text.at, '.', text.length);
    struct text whole = {text.at, point ? (size_t)(point - text.at) : text.length};
    uint64_t seconds, fraction = 0, unit = (uint64_t)SECOND_NS;
    if (!decimal(whole, &seconds))
        return false;
    for (const char *at = point ? point + 1 : NULL; at && at < text.at + text.length; at++) {
        if (*at < '0' || *at > '9')
            return false;
        unit /= 10;
        fraction += unit * (uint64_t)(*at - '0');
    }
    seconds = seconds < TIME_LIMIT_S ? seconds : TIME_LIMIT_S;
    *time_ns = (int64_t)seconds * SECOND_NS + (int64_t)fraction;
    if (negative)
        *time_ns = -*time_ns;
    return true;
}

static bool is(struct text key, const char *name)
{
    return key.length == strlen(name) && !memcmp(key.at, name, key.length);
}

static bool begins(struct text key, const char *prefix)
{
    return key.length >= strlen(prefix) && !memcmp(key.at, prefix, strlen(prefix));
}

/* Takes a record in; false where its key changes more than a plain entry has. */
static bool take_record(struct text key, struct text value, struct pax *pax)
{
    static const struct { const char *name; size_t at; } known[] = {
        {"path", offsetof(struct pax, path)}, {"linkpath", offsetof(struct pax, linkpath)},
        {"uid", offsetof(struct pax, uid)},   {"gid", offsetof(struct pax, gid)},
        {"size", offsetof(struct pax, size)}, {"mtime", offsetof(struct pax, mtime)},
    };
    if (!key.length || begins(key, "SCHILY.xattr.") || begins(key, "GNU.sparse."))
        return false;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (is(key, known[i].name))
            memcpy((char *)pax + known[i].at, &value, sizeof value);
    return true;
}

/* Records: decimal length, space, key, "=", value, newline; the length counts all of it. */
static bool read_pax(struct text data, struct pax *pax)
{
    while (data.length) {
        const char *space = memchr(data.at, ' ', data.length < 10 ? data.length : 10);
        uint64_t length;
        if (!space || !decimal((struct text){data.at, (size_t)(space - data.at)}, &length))
            return false;
        size_t start = (size_t)(space - data.at) + 1;
        if (length > data.length || length <= start || data.at[length - 1] != '\n')
            return false;
        struct text key = {data.at + start, (size_t)length - start - 1};
        const char *equals = memchr(key.at, '=', key.length);
        if (!equals)
            return false;
        struct text value = {equals + 1, (size_t)(key.at + key.length - equals - 1)};
        key.length = (size_t)(equals - key.at);
        if (!take_record(key, value, pax))
            return false;
        data.at += length;
        data.length -= length;
    }
    return true;
}

/* A path as components with single slashes, without "." and leading slashes; where the last one begins. Odd: none at
 * all, "..", and whiteouts. */
static bool plain_path(char *path, size_t *length, size_t *base)
{
    size_t to = 0;
    *base = 0;
    for (size_t at = 0; at < *length;) {
        const char *slash = memchr(path + at, '/', *length - at);
        size_t size = slash ? (size_t)(slash - path) - at : *length - at;
        struct text part = {path + at, size};
        if (is(part, "..") || begins(part, ".wh."))
            return false;
        if (size && !is(part, ".")) {
            if (to)
                path[to++] = '/';
            *base = to;
            memmove(path + to, path + at, size);
            to += size;
        }
        at += size + 1;
    }
    path[to] = 0;
    *length = to;
    return to > 0;
}

static bool copy(char *to, size_t *length, struct text from)
{
    if (from.length > MRT_NAME_LIMIT || memchr(from.at, 0, from.length))
        return false;
    memcpy(to, from.at, from.length);
    to[from.length] = 0;
    *length = from.length;
    return true;
}

static bool read_names(const uint8_t *block, const struct pax *pax, struct mrt_entry *entry)
{
    struct text prefix = field(block, 345, 155), name = field(block, 0, 100);
    size_t at = 0;
    if (pax->path.length) {
        name = pax->path;
    } else if (!memcmp(block + 257, "ustar", 6) && prefix.length) {
        memcpy(entry->path, prefix.at, prefix.length);
        at = prefix.length;
        entry->path[at++] = '/';
    }
    if (name.length > MRT_NAME_LIMIT - at || !copy(entry->path + at, &entry->path_length, name))
        return false;
    entry->path_length += at;
    return copy(entry->link, &entry->link_length, pax->linkpath.length ? pax->linkpath : field(block, 157, 100));
}

static bool read_kind(const uint8_t *block, struct mrt_entry *entry)
{
    char kind = (char)block[156];
    bool slash = entry->path_length && entry->path[entry->path_length - 1] == '/';
    entry->kind = kind == '7' || (kind == 0 && !slash) ? '0' : kind == 0 ? '5' : kind;
    if (!memchr("0125", entry->kind, 4) || !plain_path(entry->path, &entry->path_length, &entry->base))
        return false;
    return entry->kind != '1' || plain_path(entry->link, &entry->link_length, &entry->link_base);
}

static bool read_numbers(const uint8_t *block, const struct pax *pax, struct mrt_entry *entry)
{
    uint64_t mode, uid, gid, size, mtime;
    if (!octal(field(block, 100, 8), &mode) || !octal(field(block, 108, 8), &uid) ||
        !octal(field(block, 116, 8), &gid) || !octal(field(block, 124, 12), &size) ||
        !octal(field(block, 136, 12), &mtime))
        return false;
    if ((pax->uid.length && !decimal(pax->uid, &uid)) || (pax->gid.length && !decimal(pax->gid, &gid)) ||
        (pax->size.length && !decimal(pax->size, &size)) || uid > ID_LIMIT || gid > ID_LIMIT)
        return false;
    entry->mode = mode & 07777;
    entry->uid = (uint32_t)uid;
    entry->gid = (uint32_t)gid;
    entry->size = entry->kind == '0' ? size : 0;
    entry->mtime_ns = (int64_t)(mtime < TIME_LIMIT_S ? mtime : TIME_LIMIT_S) * SECOND_NS;
    return !pax->mtime.length || pax_time(pax->mtime, &entry->mtime_ns);
}

static bool is_zero(const uint8_t *block)
{
    for (size_t i = 0; i < BLOCK; i++)
        if (block[i])
            return false;
    return true;
}

enum mrt_unpack_state mrt_header_read(const uint8_t *data, size_t size, struct mrt_entry *entry)
{
    struct pax pax;
    memset(&pax, 0, sizeof pax);
    if (size < BLOCK)
        return MRT_UNPACK_MORE;
    if (is_zero(data))
        return MRT_UNPACK_END;
    if (!checksum_fits(data))
        return MRT_UNPACK_ODD;
    entry->head = BLOCK;
    if (data[156] == 'x') {
        uint64_t length;
        if (!octal(field(data, 124, 12), &length) || length > PAX_LIMIT)
            return MRT_UNPACK_ODD;
        size_t padded = ((size_t)length + BLOCK - 1) / BLOCK * BLOCK;
        if (size < 2 * BLOCK + padded)
            return MRT_UNPACK_MORE;
        entry->head += BLOCK + padded;
        if (!read_pax((struct text){(const char *)data + BLOCK, (size_t)length}, &pax))
            return MRT_UNPACK_ODD;
        data += BLOCK + padded;
        if (!checksum_fits(data) || data[156] == 'x')
            return MRT_UNPACK_ODD;
    }
    bool plain = read_names(data, &pax, entry) && read_kind(data, entry) && read_numbers(data, &pax, entry);
    return plain ? MRT_UNPACK_ENTRY : MRT_UNPACK_ODD;
}
