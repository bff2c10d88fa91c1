/* SPDX-License-Identifier: Apache-2.0
 *
 * Plain entries into a directory: what is made, what is left to the caller, and that no cut or flipped byte of a
 * header leads astray. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../unpack.h"

#define CHECK(what) ((what) ? (void)0 : (printf("%s:%d: %s\n", __FILE__, __LINE__, #what), abort()))

static uint8_t archive[1 << 16];
static size_t archive_size;
static char root_path[] = "/tmp/minirt-unpack.XXXXXX";

static void seal(uint8_t *block)
{
    unsigned sum = 0;
    memset(block + 148, ' ', 8);
    for (int i = 0; i < 512; i++)
        sum += block[i];
    sprintf((char *)block + 148, "%06o", sum);
}

static uint8_t *add(const char *name, char kind, const char *link, const char *content)
{
    uint8_t *block = archive + archive_size;
    size_t size = strlen(content), length = strlen(name);
    memset(block, 0, 512);
    memcpy(block, name, length < 100 ? length : 100);
    strcpy((char *)block + 100, "0000640");
    sprintf((char *)block + 108, "%07o", geteuid());
    sprintf((char *)block + 116, "%07o", getegid());
    sprintf((char *)block + 124, "%011o", (unsigned)size);
    strcpy((char *)block + 136, "00000001750");
    block[156] = (uint8_t)kind;
    strncpy((char *)block + 157, link, 100);
    memcpy(block + 257, "ustar\00000", 8);
    seal(block);
    memset(block + 512, 0, (size + 511) / 512 * 512);
    memcpy(block + 512, content, size);
    archive_size += 512 + (size + 511) / 512 * 512;
    return block;
}

static void begin(void)
{
    archive_size = 0;
}

static void end(void)
{
    memset(archive + archive_size, 0, 1024);
    archive_size += 1024;
}

/* Feeds all of it, `step` bytes more at a time; the last state. */
static int fed(struct mrt_unpack *unpack, size_t step)
{
    size_t at = 0, shown = 0, used;
    int state = MRT_UNPACK_MORE;
    while (state == MRT_UNPACK_MORE && shown < archive_size) {
        shown = shown + step < archive_size ? shown + step : archive_size;
        uint8_t *exact = malloc(shown - at + 1); /* so that a byte too far is seen */
        memcpy(exact, archive + at, shown - at);
        state = mrt_unpack_feed(unpack, exact, shown - at, &used);
        free(exact);
        CHECK(used <= shown - at);
        at += used;
    }
    return state;
}

static int fresh(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s/*", root_path);
    CHECK(!system(command));
    int root = open(root_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK(root >= 0);
    return root;
}

/* What becomes of the archive, in pieces of any size: the state. `check` sees the tree. */
static int unpacked(size_t step, void (*check)(int root))
{
    int root = fresh();
    struct mrt_unpack *unpack = mrt_unpack_new(root, 100, 4096);
    CHECK(unpack);
    int state = fed(unpack, step);
    mrt_unpack_finish(unpack);
    if (check)
        check(root);
    mrt_unpack_free(unpack);
    close(root);
    return state;
}

static struct stat look(int root, const char *path)
{
    struct stat there;
    memset(&there, 0, sizeof there);
    fstatat(root, path, &there, AT_SYMLINK_NOFOLLOW);
    return there;
}

static void check_plain(int root)
{
    char text[1024];
    struct stat file = look(root, "d/file"), directory = look(root, "d");
    CHECK(S_ISDIR(directory.st_mode) && directory.st_mtim.tv_sec == 1000);
    CHECK(S_ISREG(file.st_mode) && (file.st_mode & 07777) == 0640 && file.st_size == 700);
    CHECK(file.st_nlink == 2 && file.st_ino == look(root, "hard").st_ino);
    CHECK(file.st_mtim.tv_sec == -2 && file.st_mtim.tv_nsec == 750000000);
    CHECK(look(root, "d/empty").st_size == 0 && look(root, "d/link").st_mtim.tv_sec == 1000);
    CHECK(readlinkat(root, "d/link", text, sizeof text) == 11 && !memcmp(text, "/../../file", 11));
    CHECK(look(root, "d/long-name").st_size == 1);
}

static void test_plain(void)
{
    char content[701];
    memset(content, 'x', 700);
    content[700] = 0;
    begin();
    add("./d/", '5', "", "");
    add("x", 'x', "", "15 mtime=-1.25\n");
    add("/d//./file", '0', "", content);
    add("d/empty", 0, "", "");
    add("d/link", '2', "/../../file", "");
    add("hard", '1', "./d/file", "");
    add("x", 'x', "", "20 path=d/long-name\n10 size=1\n9 other=\n");
    add("short", '0', "", "y");
    end();
    for (size_t step = 1; step <= archive_size; step = step < 600 ? step + 59 : step * 2 + 1)
        CHECK(unpacked(step, check_plain) == MRT_UNPACK_END);
}

/* The caller's: nothing of it is touched. */
static void test_odd(void)
{
    static const struct { const char *name; char kind; const char *link; } odd[] = {
        {"../x", '0', ""},   {"a/../x", '0', ""},    {".", '5', ""},       {"/", '5', ""},
        {"", '0', ""},       {".wh.x", '0', ""},     {".wh.d/x", '0', ""}, {".wh..wh..opq", '0', ""},
        {"x", '3', ""},      {"x", '6', ""},         {"x", 'L', ""},       {"x", 'S', ""},
        {"x", 'g', ""},      {"x", 'V', ""},         {"no/parent", '0', ""}, {"x", '1', "x"},
        {"x", '1', "gone"},  {"x", '1', "../etc/passwd"}, {"x", '1', "/"}, {"d", '0', ""},
        {"d", '2', "t"},     {"file", '0', ""},      {"file", '5', ""},    {"loop/x", '0', ""},
        {"x", '1', "d"},     {"out/minirt-unpack-out", '0', ""}, {"x", '2', ""},
    };
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        begin();
        add("d", '5', "", "");
        add("file", '0', "", "1");
        add("loop", '2', "loop", "");
        add("out", '2', "/tmp/../../tmp", "");
        add(odd[i].name, odd[i].kind, odd[i].link, "");
        end();
        CHECK(unpacked(4096, NULL) == MRT_UNPACK_ODD);
        int root = open(root_path, O_RDONLY | O_DIRECTORY);
        CHECK(look(root, "x").st_nlink == 0 && S_ISDIR(look(root, "d").st_mode) && look(root, "file").st_size == 1);
        close(root);
    }
    CHECK(access("/tmp/minirt-unpack-out", F_OK));
}

static void check_confined(int root)
{
    CHECK(look(root, "tmp/minirt-unpack-in").st_size == 1);
}

static void test_symlinked_parent_is_inside(void)
{
    begin();
    add("tmp", '5', "", "");
    add("out", '2', "/../tmp", "");
    add("out/minirt-unpack-in", '0', "", "1");
    end();
    CHECK(unpacked(4096, check_confined) == MRT_UNPACK_END);
    CHECK(access("/tmp/minirt-unpack-in", F_OK));
}

static void test_limits(void)
{
    int root = fresh();
    struct mrt_unpack *unpack = mrt_unpack_new(root, 2, 40);
    begin();
    add("d", '5', "", "");
    add("f", '0', "", "");
    add("third", '0', "", "");
    end();
    CHECK(fed(unpack, 4096) == MRT_UNPACK_ODD && unpack->entries == 2);
    CHECK(mrt_unpack_note(unpack, "more", 4, 0, true) == 0);
    CHECK(mrt_unpack_note(unpack, "a-longer-name", 13, 0, true) == -1 && errno == EOVERFLOW);
    CHECK(mrt_unpack_note(unpack, "", 5000, 0, true) == -1 && errno == ENAMETOOLONG);
    mrt_unpack_finish(unpack);
    mrt_unpack_free(unpack);
    close(root);
}

/* One header with one byte of it changed, its checksum made to fit: never outside, never a crash; cut short: MORE. */
static void test_flipped_bytes(void)
{
    static struct mrt_entry entry;
    uint8_t *exact = malloc(2048);
    begin();
    add("x", 'x', "", "18 mtime=123.4567\n20 path=some/path/x\n8 uid=1\n");
    add("name", '0', "", "");
    CHECK(mrt_header_read(archive, 1536, &entry) == MRT_UNPACK_ENTRY && !strcmp(entry.path, "some/path/x"));
    CHECK(entry.uid == 1 && entry.mtime_ns == 123456700000 && entry.head == 1536 && entry.base == 10);
    for (int at = 0; at < 1536; at++)
        for (int value = 0; value < 256; value += at < 512 || at >= 1024 ? 7 : 1) {
            memcpy(exact, archive, 1536);
            exact[at] = (uint8_t)value;
            seal(exact);
            seal(exact + 1024);
            enum mrt_unpack_state state = mrt_header_read(exact, 1536, &entry);
            CHECK(state != MRT_UNPACK_ENTRY || (entry.path_length && entry.path[0] != '/' && !strstr(entry.path, "..")));
        }
    free(exact);
    for (size_t size = 0; size < 1536; size++) {
        exact = malloc(size + 1);
        memcpy(exact, archive, size);
        CHECK(mrt_header_read(exact, size, &entry) == MRT_UNPACK_MORE);
        free(exact);
    }
}

int main(void)
{
    CHECK(mkdtemp(root_path));
    test_plain();
    test_odd();
    test_symlinked_parent_is_inside();
    test_limits();
    test_flipped_bytes();
    close(fresh());
    CHECK(!rmdir(root_path));
    return 0;
}
