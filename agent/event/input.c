// SPDX-License-Identifier: Apache-2.0
#include "event/input.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "certsync/base/secret.h"
#include "certsync/model/pem.h"
#include "certsync/runtime/secretmode.h"

#define FILE_MAX ((size_t)CS_PEM_FILE_MAX)
#define MAP_SIZE (FILE_MAX + 4096)

static bool fail(struct cs_err *err, const char *path, const char *what) {
    char shown[300];
    cs_secret_show(path, strlen(path), shown, sizeof shown);
    return cs_err_set(err, CS_ERR_REJECT, CS_CODE_NONE, "%s: %s", shown, what);
}

static bool check_file(int fd, const char *path, unsigned flags, struct cs_err *err) {
    struct stat st;
    if (fstat(fd, &st) < 0)
        return fail(err, path, strerror(errno));
    if (S_ISDIR(st.st_mode))
        return fail(err, path, "it is a directory; name a file");
    const char *fault = flags & CS_INPUT_PRIVATE ? cs_secret_mode(&st) : NULL;
    return fault ? fail(err, path, fault) : true;
}

static bool read_all(int fd, const char *path, uint8_t *map, size_t *ret_len, struct cs_err *err) {
    size_t len = 0;
    while (len <= FILE_MAX) {
        ssize_t n = read(fd, map + len, FILE_MAX + 1 - len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail(err, path, strerror(errno));
        if (n == 0)
            break;
        len += (size_t)n;
    }
    *ret_len = len;
    return true;
}

bool cs_input_read(const char *path, unsigned flags, struct cs_input *ret, struct cs_err *err) {
    bool is_stdin = (flags & CS_INPUT_STDIN) && strcmp(path, "-") == 0;
    const char *label = is_stdin ? "standard input" : path;
    int fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return fail(err, path, strerror(errno));
    struct cs_input in = {.label = label};
    bool ok = is_stdin || check_file(fd, path, flags, err);
    if (ok) {
        in.map = mmap(NULL, MAP_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (in.map == MAP_FAILED) {
            in.map = NULL;
            ok = cs_err_oom(err);
        }
    }
    if (ok) {
        // It may fail: an ordinary user may lock little.
        (void)mlock(in.map, MAP_SIZE);
        (void)madvise(in.map, MAP_SIZE, MADV_DONTDUMP);
        in.bytes.data = in.map;
        ok = read_all(fd, label, in.map, &in.bytes.len, err);
    }
    if (!is_stdin)
        close(fd);
    if (!ok) {
        cs_input_clear(&in);
        return false;
    }
    *ret = in;
    return true;
}

void cs_input_clear(struct cs_input *in) {
    if (in->map) {
        explicit_bzero(in->map, MAP_SIZE);
        munmap(in->map, MAP_SIZE);
    }
    *in = (struct cs_input){0};
}
