// SPDX-License-Identifier: Apache-2.0
//
// Errors, ownership macros and byte views that every module shares.
//
// A function that can fail has the form
//
//     CS_MUST_USE bool f(in..., T *ret_x, struct cs_err *err);
//
// It returns true and writes the ret_ arguments, or returns false, fills *err and leaves every ret_
// argument untouched. The caller owns the cs_err (usually on its stack) and must pass one.
// Callers prepend context with cs_err_prepend(), they never replace what a callee said.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define CS_MUST_USE                      __attribute__((warn_unused_result))
#define CS_PRINTF(fmt_index, args_index) __attribute__((format(printf, fmt_index, args_index)))

// CS_AUTO(cs_event_free) struct cs_event *ev = NULL; the named T *_free(T *) runs on scope exit.
// Each such free function has a cleanup adaptor, made by CS_DEFINE_AUTO beside its declaration.
#define CS_AUTO(free_fn) __attribute__((cleanup(free_fn##_cleanup_)))
#define CS_DEFINE_AUTO(type, free_fn)                                                                        \
    static inline void free_fn##_cleanup_(type **p) {                                                        \
        free_fn(*p);                                                                                         \
    }
// For embedded structs: CS_AUTO(cs_buf_clear) struct cs_buf b; runs cs_buf_clear(&b).
#define CS_DEFINE_AUTO_CLEAR(type, clear_fn)                                                                 \
    static inline void clear_fn##_cleanup_(type *p) {                                                        \
        clear_fn(p);                                                                                         \
    }
// Hands over an owned pointer: returns it, and sets the local to NULL.
#define CS_TAKE(p)                                                                                           \
    __extension__({                                                                                          \
        __typeof__(p) cs_taken_ = (p);                                                                       \
        (p) = NULL;                                                                                          \
        cs_taken_;                                                                                           \
    })
#define CS_ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

// A borrowed run of bytes. Whoever returns one says until when it is valid.
struct cs_bytes {
    const uint8_t *data;
    size_t len;
};
static inline bool cs_bytes_equal(struct cs_bytes a, struct cs_bytes b) {
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

// What the caller does next.
enum cs_err_kind {
    CS_ERR_RETRY = 1, // Redis or Kafka away: pause, keep polling, back off
    CS_ERR_REJECT,    // the input is at fault: err.code names the rule
    CS_ERR_CONFIG,    // a setting, file or topic is at fault: say what to mend, exit
    CS_ERR_FATAL,     // out of memory, broken invariant, fork: stop
    CS_ERR_DAMAGED,   // the catalog in Redis is not what was written there: make it again
};

#define CS_ERR_MSG_MAX 768
#define CS_CODE_NONE   0

struct cs_err {
    enum cs_err_kind kind;
    unsigned code; // which rule (codes.h), CS_CODE_NONE where none is concerned
    char msg[CS_ERR_MSG_MAX];
};

// Fills *err and returns false, so that a caller can write: return cs_err_set(err, ...).
// A message that is too long is cut at a UTF-8 boundary. The caller escapes control bytes in
// arguments. No argument may be key material.
bool cs_err_set(struct cs_err *err, enum cs_err_kind kind, unsigned code, const char *fmt, ...)
    CS_PRINTF(4, 5);
// CS_ERR_FATAL "out of memory".
bool cs_err_oom(struct cs_err *err);
// Puts "context: " before the message. Always returns false.
bool cs_err_prepend(struct cs_err *err, const char *fmt, ...) CS_PRINTF(2, 3);
const char *cs_err_kind_name(enum cs_err_kind kind);
