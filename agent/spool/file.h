// SPDX-License-Identifier: Apache-2.0
//
// Inside the spool: spool/file.c (files: their names, reading and writing one whole),
// spool/segment.c (what a file of events holds), spool/view.c (what is there), spool/entry.c
// (reading events), spool/mark.c (what became of them), spool/spool.c (numbers, adding, the lock).
#pragma once

#include <sys/types.h>

#include "certsync/runtime/fault.h"
#include "spool/spool.h"

#define CS_SPOOL_NAME_SIZE 64
#define CS_SPOOL_FRAME_MAX (CS_EVENT_MAX + 4096)

#ifdef CS_SPOOL_TEST_HOOKS
#define CS_SPOOL_STEP(name) (cs_spool_test_step ? cs_spool_test_step(name) : (void)0)
#else
#define CS_SPOOL_STEP(name) cs_fault_point(name)
#endif

// --- files

enum cs_spool_name_kind { CS_SPOOL_NAME_EVENTS = 1, CS_SPOOL_NAME_REPLACING, CS_SPOOL_NAME_ACKS };
struct cs_spool_name {
    enum cs_spool_name_kind kind;
    int64_t first; // number of its first event
    size_t n;      // of events; 1 to CS_SPOOL_GROUP_MAX
    int64_t old;   // of REPLACING: the first of n that end
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
// Temporary file, fsync, rename, fsync of the directory. After false it may be there.
CS_MUST_USE bool cs_spool_write(const struct cs_spool_dir *d, const char *name, struct cs_bytes content,
                                struct cs_err *err);
// What a killed process left of that.
CS_MUST_USE bool cs_spool_clean(const struct cs_spool_dir *d, struct cs_err *err);
CS_MUST_USE bool cs_spool_sync(const struct cs_spool_dir *d, struct cs_err *err);
// Opens a plain file with one name: another may be what somebody planted. *ret_fd -1: there is
// none.
CS_MUST_USE bool cs_spool_open_file(const struct cs_spool_dir *d, const char *name, int flags, int *ret_fd,
                                    off_t *ret_size, struct cs_err *err);
// Reads a whole file; of a longer one a little more than max bytes. *ret_missing where there is
// none (then true).
CS_MUST_USE bool cs_spool_read(const struct cs_spool_dir *d, const char *name, size_t max, struct cs_buf *ret,
                               bool *ret_missing, struct cs_err *err);

// --- what a file of events holds

// Bytes of a segment's states.
size_t cs_spool_states_size(size_t n);
// Appends the states of n events that are new, and fills the last page.
void cs_spool_states_make(size_t n, struct cs_buf *out);
// Where the state of event i stands, and how many bytes n of them have.
size_t cs_spool_state_at(size_t n);
// The n states as bytes of cs_spool_state_at(n).
void cs_spool_states_format(const struct cs_spool_item *items, size_t n, uint8_t *out);
// Sets state, partition and offset of n items. What is not whole reads as new: to be published once
// more.
void cs_spool_states_parse(struct cs_bytes text, struct cs_spool_item *items, size_t n);

struct cs_spool_frame {
    struct cs_bytes sig; // base64; data NULL: the event is not there whole
    struct cs_bytes value;
};
// Signs ev, which has its number, and appends its frame.
CS_MUST_USE bool cs_spool_frame_make(struct cs_crypto *c, const struct cs_privkey *key,
                                     const struct cs_event *ev, struct cs_buf *out, struct cs_err *err);
// The frames of a whole segment, by number; views into content.
void cs_spool_frames_parse(struct cs_crypto *c, struct cs_bytes content, const struct cs_spool_name *name,
                           struct cs_spool_frame *ret);

// --- what is there

struct cs_spool_segment {
    struct cs_spool_name name;
    int64_t size;
    size_t open;                 // events that have not ended
    struct cs_spool_item *items; // name.n, malloc'ed
};
struct cs_spool_view {
    struct cs_spool_segment *segments; // malloc'ed, by rising number
    size_t n, cap;
    int64_t *acks; // numbers of events with a list of acknowledgements; malloc'ed
    size_t acks_n, acks_cap;
    bool valid;
    int64_t changes; // of the hint, when it was read
};

// What the lock file says. Not durable: after a restart of the machine cs_spool_open counts anew,
// and until then every process sees the same bytes.
struct cs_spool_hint {
    char magic[8];
    int64_t highest;
    int64_t count;
    int64_t bytes;
    int64_t changes; // grows with each change: who saw this number before knows what is there
    int64_t busy;    // written before a change and taken back after it: who finds it, looks for what a
                     // killed process left half done
};

// The last segment that was read.
struct cs_spool_loaded {
    int64_t first;
    struct cs_buf content;
    struct cs_spool_frame frames[CS_SPOOL_GROUP_MAX];
};

struct cs_spool {
    char *path;
    cs_kid kid;
    struct cs_spool_limits limits;
    struct cs_spool_dir dir;
    int lock_fd;
    int publish_fd;
    int depth;     // how often the lock was taken and not given back
    bool changing; // since the lock was taken
    bool failed;   // half a change
    struct cs_spool_hint hint;
    int64_t counter; // the durable one, as last read or written here; may be behind
    struct cs_spool_view view;
    struct cs_spool_loaded *loaded;
};

// The rest only under the lock (cs_spool_lock).
// Comes before every change.
void cs_spool_change(struct cs_spool *s);
// It was not done, or half: who takes the lock next looks.
void cs_spool_failed(struct cs_spool *s);
// Reads what is there, if anybody changed it since.
CS_MUST_USE bool cs_spool_look(struct cs_spool *s, struct cs_err *err);
// The segment that holds the event, and it has not ended; NULL: none does. Borrowed until the next
// change.
struct cs_spool_segment *cs_spool_find(const struct cs_spool *s, int64_t seq);
// The new ones of a segment REPLACING stand: ends the old ones and gives it its name.
CS_MUST_USE bool cs_spool_finish_replacing(struct cs_spool *s, const struct cs_spool_name *n,
                                           struct cs_err *err);
// Finishes what was left half done and counts what is there.
CS_MUST_USE bool cs_spool_scan(struct cs_spool *s, struct cs_err *err);
void cs_spool_forget(struct cs_spool *s); // the segment that was read
bool cs_spool_has_acks(const struct cs_spool *s, int64_t seq);
CS_MUST_USE bool cs_spool_view_add(struct cs_spool *s, const struct cs_spool_name *name, int64_t size);
void cs_spool_view_drop(struct cs_spool *s, struct cs_spool_segment *seg);
void cs_spool_view_clear(struct cs_spool_view *v);
void cs_spool_raise_highest(struct cs_spool *s, int64_t seq);
// Makes durable that all numbers up to seq are used. Looks ahead to the highest, so that it is
// written seldom.
CS_MUST_USE bool cs_spool_raise_counter(struct cs_spool *s, int64_t seq, struct cs_err *err);
