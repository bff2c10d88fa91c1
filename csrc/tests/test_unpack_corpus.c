/* SPDX-License-Identifier: Apache-2.0
 *
 * Every layer of the fuzzers' corpus (tests/fuzz/corpus/tar) through the C part, cut into pieces of several sizes, under
 * the sanitizers. With FUZZ_SECONDS its headers go on for so long, mutated, with right checksums. Buffers are exactly
 * as large as what is in them, so that a byte too far is seen. */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../unpack.h"

#define CHECK(what) ((what) ? (void)0 : (printf("%s:%d: %s\n", __FILE__, __LINE__, #what), abort()))
#define CORPUS "../../tests/fuzz/corpus/tar"

enum { SEEDS = 512, SIZE_LIMIT = 1 << 16 };
struct seed { uint8_t *data; size_t size; };
static struct seed seeds[SEEDS];
static size_t seeds_count;

static void seal(uint8_t *block)
{
    unsigned sum = 0;
    char text[8];
    memset(block + 148, ' ', 8);
    for (int i = 0; i < 512; i++)
        sum += block[i];
    snprintf(text, sizeof text, "%06o", sum);
    memcpy(block + 148, text, sizeof text);
}

static void load(const char *name)
{
    char path[512];
    snprintf(path, sizeof path, CORPUS "/%s", name);
    FILE *file = fopen(path, "rb");
    CHECK(file && seeds_count < SEEDS);
    uint8_t *data = calloc(1, SIZE_LIMIT);
    CHECK(data);
    seeds[seeds_count].size = fread(data, 1, SIZE_LIMIT, file);
    seeds[seeds_count++].data = data;
    fclose(file);
}

static int erase(const char *path, const struct stat *there, int kind, struct FTW *walk)
{
    (void)there, (void)kind, (void)walk;
    return remove(path);
}

/* Feeds a whole seed, `step` bytes more at a time; an odd entry is passed over by one block. */
static void feed(const struct seed *seed, size_t step)
{
    char root[] = "/tmp/minirt-corpus.XXXXXX";
    CHECK(mkdtemp(root));
    int fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC), state = MRT_UNPACK_MORE;
    struct mrt_unpack *unpack = mrt_unpack_new(fd, 100, 1 << 16);
    CHECK(unpack);
    for (size_t at = 0, shown = 0, used; state >= 0 && state != MRT_UNPACK_END; at += used) {
        if (state == MRT_UNPACK_MORE && shown == seed->size)
            break;
        if (state == MRT_UNPACK_MORE)
            shown = shown + step < seed->size ? shown + step : seed->size;
        uint8_t *exact = malloc(shown - at + !(shown - at));
        CHECK(exact);
        memcpy(exact, seed->data + at, shown - at);
        state = mrt_unpack_feed(unpack, exact, shown - at, &used);
        free(exact);
        CHECK(used <= shown - at);
        if (state == MRT_UNPACK_ODD) {
            used = at + used + 512 < shown ? used + 512 : shown - at;
            state = used + at == seed->size ? MRT_UNPACK_END : MRT_UNPACK_MORE;
        }
    }
    mrt_unpack_finish(unpack);
    mrt_unpack_free(unpack);
    close(fd);
    CHECK(!nftw(root, erase, 16, FTW_DEPTH | FTW_PHYS));
}

static uint64_t dice(uint64_t limit)
{
    static uint64_t state = 88172645463325252ULL; /* xorshift64 */
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state % limit;
}

/* Some bytes of the first blocks change; then they are read as the headers of one entry. */
static void mutate(const struct seed *seed, struct mrt_entry *entry)
{
    static const uint8_t liked[] = {0, ' ', '/', '.', '0', '7', '9', '=', '\n', 'x', 0x80, 0xff};
    size_t blocks = seed->size / 512 < 8 ? seed->size / 512 : 8, size = 512 * (1 + dice(blocks));
    uint8_t *data = malloc(size);
    CHECK(data);
    memcpy(data, seed->data, size);
    for (uint64_t left = 1 + dice(16); left; left--)
        data[dice(size)] = dice(2) ? (uint8_t)dice(256) : liked[dice(sizeof liked)];
    for (size_t at = 0; at < size; at += 512)
        if (at == 0 || dice(2))
            seal(data + at);
    if (mrt_header_read(data, size, entry) == MRT_UNPACK_ENTRY) {
        CHECK(entry->head <= size && entry->path_length && entry->path_length <= MRT_NAME_LIMIT);
        CHECK(strlen(entry->path) == entry->path_length && entry->base < entry->path_length);
        CHECK(entry->path[0] != '/' && !strstr(entry->path, "//") && !strstr(entry->path, "/../"));
    }
    free(data);
}

static void fuzz(time_t seconds)
{
    struct mrt_entry *entry = calloc(1, sizeof *entry);
    uint64_t rounds = 0;
    CHECK(entry);
    for (time_t end = time(NULL) + seconds; time(NULL) < end; rounds += 10000)
        for (int i = 0; i < 10000; i++) {
            const struct seed *seed = &seeds[dice(seeds_count)];
            if (seed->size >= 512)
                mutate(seed, entry);
        }
    free(entry);
    printf("%llu headers\n", (unsigned long long)rounds);
}

int main(void)
{
    static const size_t steps[] = {1, 100, 512, 513, 5000, SIZE_LIMIT};
    const char *seconds = getenv("FUZZ_SECONDS");
    DIR *corpus = opendir(CORPUS);
    CHECK(corpus);
    for (struct dirent *item; (item = readdir(corpus));)
        if (item->d_name[0] != '.')
            load(item->d_name);
    closedir(corpus);
    CHECK(seeds_count > 10);
    for (size_t i = 0; i < seeds_count; i++)
        for (size_t j = 0; j < sizeof steps / sizeof *steps; j++)
            feed(&seeds[i], steps[j]);
    if (seconds)
        fuzz(atol(seconds));
    for (size_t i = 0; i < seeds_count; i++)
        free(seeds[i].data);
    return 0;
}
