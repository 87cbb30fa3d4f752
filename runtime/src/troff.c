// SPDX-License-Identifier: Apache-2.0
#include "troff.h"

#include <string.h>

void cs_troff_put(const char *text, struct cs_buf *out) {
    bool line_start = true;
    for (const char *s = text; *s; s++) {
        if (line_start && *s == '\n') {
            cs_buf_puts(out, ".PP\n");
            continue;
        }
        if (line_start && (*s == '.' || *s == '\''))
            cs_buf_puts(out, "\\&");
        line_start = *s == '\n';
        if (*s == '\\')
            cs_buf_puts(out, "\\e");
        else if (*s == '-')
            cs_buf_puts(out, "\\-");
        else
            cs_buf_putc(out, *s);
    }
}
