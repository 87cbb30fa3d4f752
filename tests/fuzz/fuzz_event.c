// SPDX-License-Identifier: Apache-2.0
//
// Events: what is read is written, reads the same again and is then written to the same bytes; what is
// refused is refused with a detail that is fit to be shown. The same of heartbeats, which no event is.
#include <stdlib.h>
#include <string.h>

#include "certsync/base/text.h"
#include "certsync/model/cert.h"
#include "certsync/model/event.h"
#include "certsync/model/heartbeat.h"
#include "fuzz.h"

static void require(bool holds) {
    if (!holds)
        abort();
}

static void check_refusal(const struct cs_err *err) {
    size_t len = strlen(err->msg);
    require(err->kind == CS_ERR_REJECT && len > 0 && len <= CS_DETAIL_MAX);
    require(err->code == CS_CODE_EVENT_MALFORMED || err->code == CS_CODE_EVENT_UNKNOWN_TYPE ||
            err->code == CS_CODE_EVENT_TOO_LARGE);
    require(cs_utf8_valid((const uint8_t *)err->msg, len));
    for (size_t i = 0; i < len; i++)
        require((unsigned char)err->msg[i] >= 0x20 && err->msg[i] != 0x7F);
}

static bool was_counted_only(const struct cs_event *ev) {
    return (ev->type == CS_EVENT_CERTIFICATE_UPLOAD || ev->type == CS_EVENT_CERTIFICATE_ISSUE) &&
           (ev->data.upload.part[0].chain_len > CS_CHAIN_MAX ||
            ev->data.upload.part[1].chain_len > CS_CHAIN_MAX);
}

static void try_heartbeat(struct cs_bytes value) {
    struct cs_heartbeat first, second;
    struct cs_err err;
    if (!cs_heartbeat_decode(value, &first, &err)) {
        check_refusal(&err);
        return;
    }
    struct cs_buf one;
    cs_buf_init(&one, (size_t)8 * CS_HEARTBEAT_MAX);
    require(cs_heartbeat_encode(&first, &one, &err));
    require(cs_heartbeat_decode(cs_buf_bytes(&one), &second, &err));
    require(first.seq == second.seq && strcmp(first.kid, second.kid) == 0 &&
            first.host.certificates == second.host.certificates);
    cs_buf_clear(&one);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    struct cs_err err;
    struct cs_event *first = NULL, *second = NULL;
    try_heartbeat((struct cs_bytes){data, len});
    if (!cs_event_decode((struct cs_bytes){data, len}, &first, &err)) {
        check_refusal(&err);
        return 0;
    }
    struct cs_buf one, two;
    cs_buf_init(&one, 8 * CS_EVENT_MAX);
    cs_buf_init(&two, 8 * CS_EVENT_MAX);
    if (cs_event_encode(first, &one, &err)) {
        require(cs_event_decode(cs_buf_bytes(&one), &second, &err));
        require(cs_event_encode(second, &two, &err));
        require(one.len == two.len && memcmp(one.data, two.data, one.len) == 0);
        require(first->type == second->type && first->seq == second->seq &&
                strcmp(first->subject, second->subject) == 0);
    } else {
        // Too many certificates, or text that grew because we escape what came unescaped (it cannot: JSON
        // demands the same escapes).
        require(was_counted_only(first) && err.code == CS_CODE_CERT_TOO_MANY);
    }
    cs_event_free(first);
    cs_event_free(second);
    cs_buf_clear(&one);
    cs_buf_clear(&two);
    return 0;
}
