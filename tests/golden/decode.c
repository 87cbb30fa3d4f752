// SPDX-License-Identifier: Apache-2.0
//
// Decodes lines that begin with "event ", "outcome ", "heartbeat " or "correction ", and says of each "ok", or the code and the detail
// (schemas.py).
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "certsync/model/correction.h"
#include "certsync/model/heartbeat.h"
#include "certsync/model/outcome.h"

static bool decode(const char *line, size_t len, struct cs_err *err) {
    size_t head = strcspn(line, " ") + 1;
    struct cs_bytes value = {(const uint8_t *)line + head, len - head};
    if (line[0] == 'e') {
        CS_AUTO(cs_event_free) struct cs_event *ev = NULL;
        return cs_event_decode(value, &ev, err);
    }
    if (line[0] == 'h') {
        struct cs_heartbeat h;
        return cs_heartbeat_decode(value, &h, err);
    }
    if (line[0] == 'c') {
        struct cs_correction c;
        return cs_correction_decode(value, &c, err);
    }
    CS_AUTO(cs_outcome_clear) struct cs_outcome o = {0};
    return cs_outcome_decode(value, &o, err);
}

int main(void) {
    char *line = NULL;
    size_t size = 0;
    ssize_t len;
    while ((len = getline(&line, &size, stdin)) > 8) {
        struct cs_err err;
        if (decode(line, (size_t)len - 1, &err))
            puts("ok");
        else
            printf("%s %s\n", cs_code_name(err.code), err.msg);
    }
    free(line);
    return 0;
}
