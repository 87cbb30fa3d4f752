// SPDX-License-Identifier: Apache-2.0
//
// Entries and outcomes: what decodes is encoded to the same bytes. The first byte chooses the kind.
#include <stdlib.h>
#include <string.h>

#include "../unit/entry_samples.h"
#include "fuzz.h"

static void require(bool holds) {
    if (!holds)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    if (len == 0)
        return 0;
    const struct entry_kind *kind = &entry_kinds[data[0] % CS_ARRAY_LEN(entry_kinds)];
    struct cs_err err;
    struct cs_buf b;
    cs_buf_init(&b, 8 * CS_EVENT_MAX);
    if (kind->again((struct cs_bytes){data + 1, len - 1}, &b, &err))
        require(b.len == len - 1 && memcmp(b.data, data + 1, b.len) == 0);
    else
        require(err.kind == (kind->again == again_outcome ? CS_ERR_REJECT : CS_ERR_FATAL) &&
                err.msg[0] != '\0');
    cs_buf_clear(&b);
    return 0;
}
