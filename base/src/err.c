// SPDX-License-Identifier: Apache-2.0
#include "certsync/base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

// A message that was cut may end in the first bytes of a UTF-8 sequence: drops them.
static void cut_at_boundary(char *msg, size_t len) {
    size_t start = len;
    while (start > 0 && len - start < 4 && ((unsigned char)msg[start - 1] & 0xC0) == 0x80)
        start--;
    if (start == 0)
        return;
    unsigned char lead = (unsigned char)msg[start - 1];
    size_t have = len - start + 1;
    size_t need = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1;
    if (have < need)
        msg[start - 1] = '\0';
}

bool cs_err_set(struct cs_err *err, enum cs_err_kind kind, unsigned code, const char *fmt, ...) {
    err->kind = kind;
    err->code = code;
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(err->msg, sizeof err->msg, fmt, args);
    va_end(args);
    if (n < 0)
        err->msg[0] = '\0';
    else if ((size_t)n >= sizeof err->msg)
        cut_at_boundary(err->msg, sizeof err->msg - 1);
    return false;
}

bool cs_err_oom(struct cs_err *err) {
    return cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE, "out of memory");
}

bool cs_err_prepend(struct cs_err *err, const char *fmt, ...) {
    char context[sizeof err->msg];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(context, sizeof context, fmt, args);
    va_end(args);
    if (n <= 0)
        return false;
    if ((size_t)n >= sizeof context)
        cut_at_boundary(context, sizeof context - 1);
    // What the callee said is worth more than the context. So the context is cut first, to half of
    // the room.
    size_t context_len = strlen(context);
    size_t msg_len = strlen(err->msg);
    size_t room = sizeof err->msg - 1 - 2;
    if (context_len + msg_len > room) {
        if (context_len > room / 2) {
            context_len = msg_len > room - room / 2 ? room / 2 : room - msg_len;
            cut_at_boundary(context, context_len);
            context[context_len] = '\0';
            context_len = strlen(context);
        }
        if (msg_len > room - context_len) {
            msg_len = room - context_len;
            cut_at_boundary(err->msg, msg_len);
            err->msg[msg_len] = '\0';
            msg_len = strlen(err->msg);
        }
    }
    memmove(err->msg + context_len + 2, err->msg, msg_len + 1);
    memcpy(err->msg, context, context_len);
    memcpy(err->msg + context_len, ": ", 2);
    return false;
}

const char *cs_err_kind_name(enum cs_err_kind kind) {
    switch (kind) {
    case CS_ERR_RETRY:
        return "retry";
    case CS_ERR_REJECT:
        return "reject";
    case CS_ERR_CONFIG:
        return "config";
    case CS_ERR_FATAL:
        return "fatal";
    case CS_ERR_DAMAGED:
        return "damaged";
    }
    return "unknown";
}
