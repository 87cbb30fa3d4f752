// SPDX-License-Identifier: Apache-2.0
//
// Decodes lines that begin with "event " or "outcome ", and says of each "ok", or the code and the detail (schemas.py).
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "certsync/model/outcome.h"

static bool decode(const char *line, size_t len, struct cs_err *err) {
    static const char event[] = "event ", outcome[] = "outcome ";
    size_t head = strncmp(line, event, sizeof event - 1) == 0 ? sizeof event - 1 : sizeof outcome - 1;
    struct cs_bytes value = {(const uint8_t *)line + head, len - head};
    if (head == sizeof event - 1) {
        CS_AUTO(cs_event_free) struct cs_event *ev = NULL;
        return cs_event_decode(value, &ev, err);
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
