// SPDX-License-Identifier: Apache-2.0
//
// What lies in a spool's directory: the forms of names and of file contents, and writing one file
// whole. Internal to the spool (spool.c: numbers, adding and removing; spool/names.c: what is
// there; spool/entry.c: reading events and marking them as sent; spool/file.c: files).
#pragma once

#include <sys/types.h>

#include "certsync/runtime/fault.h"
#include "spool/spool.h"

#define CS_SPOOL_NAME_SIZE 64
#define CS_SPOOL_FILE_MAX  (CS_EVENT_MAX + 4096)

#ifdef CS_SPOOL_TEST_HOOKS
#define CS_SPOOL_STEP(name) (cs_spool_test_step ? cs_spool_test_step(name) : (void)0)
#else
#define CS_SPOOL_STEP(name) cs_fault_point(name)
#endif

enum cs_spool_name_kind {
    CS_SPOOL_NAME_NEW = 1,
    CS_SPOOL_NAME_REPLACING,
    CS_SPOOL_NAME_SENT,
    CS_SPOOL_NAME_ACKS
};
struct cs_spool_name {
    enum cs_spool_name_kind kind;
    int64_t seq;
    int64_t old;       // of REPLACING
    int32_t partition; // of SENT; -1: every partition
    int64_t offset;    // of SENT
};
bool cs_spool_name_parse(const char *text, struct cs_spool_name *ret);
void cs_spool_name_format(const struct cs_spool_name *n, char out[CS_SPOOL_NAME_SIZE]);

// A directory of the spool with what messages need.
struct cs_spool_dir {
    int fd;
    const char *path;
};
bool cs_spool_fail(struct cs_err *err, const struct cs_spool_dir *d, const char *name, const char *verb,
                   int code);
struct cs_spool_file {
    char name[CS_SPOOL_NAME_SIZE];
    struct cs_bytes content;
};
// Temporary files, fsync of each, renames in the order given, one fsync of the directory; at most
// CS_SPOOL_GROUP_MAX. After false some of them may be there.
CS_MUST_USE bool cs_spool_write(const struct cs_spool_dir *d, const struct cs_spool_file *files, size_t n,
                                struct cs_err *err);
// What a killed process left of that.
CS_MUST_USE bool cs_spool_clean(const struct cs_spool_dir *d, struct cs_err *err);
CS_MUST_USE bool cs_spool_sync(const struct cs_spool_dir *d, struct cs_err *err);
// Reads a whole file of at most max bytes. *ret_missing where there is none (then true).
CS_MUST_USE bool cs_spool_read(const struct cs_spool_dir *d, const char *name, size_t max, struct cs_buf *ret,
                               bool *ret_missing, struct cs_err *err);

// The content of an event's file: signs ev, which has its number, and appends the content to out.
CS_MUST_USE bool cs_spool_content_make(struct cs_crypto *c, const struct cs_privkey *key,
                                       const struct cs_event *ev, struct cs_buf *out, struct cs_err *err);
// Views into content. False with the fault in words where it is not what was written.
CS_MUST_USE bool cs_spool_content_parse(struct cs_crypto *c, struct cs_bytes content,
                                        struct cs_bytes *ret_sig, struct cs_bytes *ret_value,
                                        const char **ret_fault);

// What the lock file says. Not durable: after a restart of the machine cs_spool_open counts anew,
// and until then every process sees the same bytes. highest is written after the file it counts and
// before the lock is given back; a process that is killed in between leaves it too low, which is
// noticed when that number's file is found.
struct cs_spool_hint {
    char magic[8];
    int64_t highest;
    int64_t count;
    int64_t bytes;
};

struct cs_spool_names {
    struct cs_spool_name *items; // malloc'ed, sorted
    size_t n, cap;
};

struct cs_spool {
    char *path;
    cs_kid kid;
    struct cs_spool_limits limits;
    struct cs_spool_dir dir;
    int lock_fd;
    int publish_fd;
    struct cs_spool_hint hint;
    int64_t counter;            // the durable one, as last read or written here; may be behind
    struct cs_spool_names seen; // by the last listing; may be behind
};

CS_MUST_USE bool cs_spool_lock(struct cs_spool *s, struct cs_err *err);
void cs_spool_unlock(struct cs_spool *s);
// The rest only under the lock.
// All names of events, sorted; with seq not 0 only those of that number.
CS_MUST_USE bool cs_spool_read_names(struct cs_spool *s, int64_t seq, struct cs_spool_names *ret,
                                     struct cs_err *err);
// The event's own file.
CS_MUST_USE bool cs_spool_find(struct cs_spool *s, int64_t seq, struct cs_spool_name *ret, bool *ret_found,
                               struct cs_err *err);
// Counts what is there and finishes what was left half done.
CS_MUST_USE bool cs_spool_scan(struct cs_spool *s, struct cs_err *err);
void cs_spool_raise_highest(struct cs_spool *s, int64_t seq);
// Makes durable that all numbers up to seq are used. Looks ahead to the highest, so that it is
// written seldom.
CS_MUST_USE bool cs_spool_raise_counter(struct cs_spool *s, int64_t seq, struct cs_err *err);
// The number stays used.
CS_MUST_USE bool cs_spool_unlink_seq(struct cs_spool *s, int64_t seq, struct cs_err *err);
