// SPDX-License-Identifier: Apache-2.0
//
// Stands in for libFuzzer where there is only a C compiler: gives each file of the named folders (and each
// named file) to the target once. Each input lies in a heap block of exactly its size, so that a sanitizer
// sees a read past its end.
//
// Exit codes: 0 all replayed, 1 nothing to replay or unreadable; a finding ends the process.

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fuzz.h"

__attribute__((weak)) int LLVMFuzzerInitialize(int *argc, char ***argv);

static bool complain(const char *path) {
    fprintf(stderr, "%s: %s\n", path, strerror(errno));
    return false;
}

static bool replay_file(const char *path, size_t len) {
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return complain(path);
    uint8_t *data = malloc(len > 0 ? len : 1);
    const bool ok = data != NULL && fread(data, 1, len, file) == len;
    if (ok)
        (void)LLVMFuzzerTestOneInput(data, len);
    else
        complain(path);
    free(data);
    (void)fclose(file);
    return ok;
}

static bool replay(const char *path, unsigned depth, size_t *count);

static bool replay_folder(const char *path, unsigned depth, size_t *count) {
    DIR *dir = opendir(path);
    if (dir == NULL)
        return complain(path);
    bool ok = true;
    for (const struct dirent *entry; ok && (entry = readdir(dir)) != NULL;) {
        if (entry->d_name[0] == '.')
            continue;
        char inner[PATH_MAX];
        const int len = snprintf(inner, sizeof inner, "%s/%s", path, entry->d_name);
        ok = len > 0 && (size_t)len < sizeof inner && replay(inner, depth + 1, count);
    }
    (void)closedir(dir);
    return ok;
}

static bool replay(const char *path, unsigned depth, size_t *count) {
    struct stat st;
    if (stat(path, &st) != 0)
        return complain(path);
    if (S_ISDIR(st.st_mode))
        return depth < 4 && replay_folder(path, depth, count);
    // Named before it runs: the last line of a crashed run says which input it was.
    printf("%s\n", path);
    (void)fflush(stdout);
    (*count)++;
    return replay_file(path, (size_t)st.st_size);
}

int main(int argc, char **argv) {
    if (LLVMFuzzerInitialize != NULL)
        (void)LLVMFuzzerInitialize(&argc, &argv);
    size_t count = 0;
    for (int i = 1; i < argc; i++)
        if (!replay(argv[i], 0, &count))
            return EXIT_FAILURE;
    if (count == 0) {
        fprintf(stderr, "usage: %s FILE-OR-FOLDER...: nothing to replay\n", argv[0]);
        return EXIT_FAILURE;
    }
    printf("%zu inputs replayed\n", count);
    return EXIT_SUCCESS;
}
