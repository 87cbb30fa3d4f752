// SPDX-License-Identifier: Apache-2.0
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "certsync/base/grow.h"
#include "spool/file.h"

static bool names_add(struct cs_spool_names *l, const struct cs_spool_name *n) {
    if (!CS_GROW(&l->items, &l->cap, l->n + 1))
        return false;
    l->items[l->n++] = *n;
    return true;
}

static int names_compare(const void *a, const void *b) {
    const struct cs_spool_name *x = a, *y = b;
    if (x->seq != y->seq)
        return x->seq < y->seq ? -1 : 1;
    return (int)x->kind - (int)y->kind;
}

// All names of events, sorted. seq other than 0: only those of that number.
bool cs_spool_read_names(struct cs_spool *s, int64_t seq, struct cs_spool_names *ret, struct cs_err *err) {
    int fd = openat(s->dir.fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        cs_spool_fail(err, &s->dir, ".", "read", errno);
        if (fd >= 0)
            close(fd);
        return false;
    }
    bool ok = true;
    const struct dirent *e;
    while (ok && (errno = 0, e = readdir(dir)) != NULL) {
        struct cs_spool_name n;
        if (cs_spool_name_parse(e->d_name, &n) && (seq == 0 || n.seq == seq) && !names_add(ret, &n))
            ok = cs_err_oom(err);
    }
    if (ok && errno != 0)
        ok = cs_spool_fail(err, &s->dir, ".", "read", errno);
    closedir(dir);
    if (ok && ret->n > 1)
        qsort(ret->items, ret->n, sizeof *ret->items, names_compare);
    return ok;
}

static bool exists(const struct cs_spool *s, const struct cs_spool_name *n) {
    char name[CS_SPOOL_NAME_SIZE];
    cs_spool_name_format(n, name);
    return faccessat(s->dir.fd, name, F_OK, 0) == 0;
}

// The event's own file among all names. False if there is none.
static bool own_name(const struct cs_spool_names *l, int64_t seq, struct cs_spool_name *ret) {
    size_t low = 0, high = l->n;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (l->items[mid].seq < seq)
            low = mid + 1;
        else
            high = mid;
    }
    for (; low < l->n && l->items[low].seq == seq; low++) {
        if (l->items[low].kind != CS_SPOOL_NAME_ACKS) {
            *ret = l->items[low];
            return true;
        }
    }
    return false;
}

bool cs_spool_find(struct cs_spool *s, int64_t seq, struct cs_spool_name *ret, bool *ret_found,
                   struct cs_err *err) {
    struct cs_spool_names l = {0};
    // Mostly it is new, or has the name of the last listing. Then the directory need not be read.
    struct cs_spool_name n = {.kind = CS_SPOOL_NAME_NEW, .seq = seq};
    *ret_found = exists(s, &n) || (own_name(&s->seen, seq, &n) && exists(s, &n));
    if (*ret_found) {
        *ret = n;
        return true;
    }
    bool ok = cs_spool_read_names(s, seq, &l, err);
    *ret_found = ok && own_name(&l, seq, ret);
    free(l.items);
    return ok;
}

bool cs_spool_list(struct cs_spool *s, struct cs_spool_item **ret, size_t *ret_n, struct cs_err *err) {
    struct cs_spool_names l = {0};
    if (!cs_spool_lock(s, err))
        return false;
    bool ok = cs_spool_read_names(s, 0, &l, err);
    for (size_t i = 0; ok && i < l.n; i++) {
        cs_spool_raise_highest(s, l.items[i].seq);
        if (l.items[i].kind == CS_SPOOL_NAME_REPLACING) { // left by a killed process
            free(l.items);
            l = (struct cs_spool_names){0};
            ok = cs_spool_scan(s, err) && cs_spool_read_names(s, 0, &l, err);
            break;
        }
    }
    cs_spool_unlock(s);
    struct cs_spool_item *items = ok ? calloc(l.n ? l.n : 1, sizeof *items) : NULL;
    size_t n = 0;
    for (size_t i = 0; items && i < l.n; i++) {
        const struct cs_spool_name *name = &l.items[i];
        if (name->kind != CS_SPOOL_NAME_NEW && name->kind != CS_SPOOL_NAME_SENT)
            continue;
        bool sent = name->kind == CS_SPOOL_NAME_SENT;
        items[n++] = (struct cs_spool_item){name->seq, sent ? CS_SPOOL_SENT : CS_SPOOL_NEW,
                                            sent ? name->partition : 0, sent ? name->offset : 0};
    }
    if (ok) {
        free(s->seen.items);
        s->seen = l;
    } else {
        free(l.items);
    }
    if (!items)
        return ok ? cs_err_oom(err) : false;
    *ret = items;
    *ret_n = n;
    return true;
}
