// SPDX-License-Identifier: Apache-2.0
#include "certsync/model/codes.h"

#include "certsync/base/json_write.h"

#include <string.h>

struct code_row {
    const char *name;
    enum cs_code_origin origin;
    const char *sentence;
    const char *hint;
};

static const struct code_row rows[CS_CODE_COUNT] = {[CS_CODE_NONE] = {"", CS_CODE_BOTH, "", ""},
#define X(symbol, name, who, sentence, hint) [CS_CODE_##symbol] = {name, CS_CODE_##who, sentence, hint},
                                                    CS_CODES(X)
#undef X
};

static const struct code_row *row_of(enum cs_code code) {
    return (unsigned)code < CS_CODE_COUNT ? &rows[code] : &rows[CS_CODE_NONE];
}

const char *cs_code_name(enum cs_code code) {
    return row_of(code)->name;
}

const char *cs_code_sentence(enum cs_code code) {
    return row_of(code)->sentence;
}

const char *cs_code_hint(enum cs_code code) {
    return row_of(code)->hint;
}

enum cs_code_origin cs_code_origin(enum cs_code code) {
    return row_of(code)->origin;
}

bool cs_err_reject(struct cs_err *err, enum cs_code code) {
    return cs_err_set(err, CS_ERR_REJECT, code, "%s", cs_code_sentence(code));
}

enum cs_code cs_code_from_name(const char *name, size_t len) {
    for (unsigned i = CS_CODE_NONE + 1; i < CS_CODE_COUNT; i++)
        if (strlen(rows[i].name) == len && memcmp(rows[i].name, name, len) == 0)
            return (enum cs_code)i;
    return CS_CODE_NONE;
}

enum cs_code cs_note_code(enum cs_note note) {
    static const enum cs_code codes[] = {
#define X(symbol) [CS_NOTE_##symbol] = CS_CODE_##symbol,
        CS_NOTES(X)
#undef X
    };
    return (unsigned)note < CS_NOTE_COUNT ? codes[note] : CS_CODE_NONE;
}

const char *cs_code_said_by(enum cs_code code) {
    switch (cs_code_origin(code)) {
    case CS_CODE_AGENT:
        return "host";
    case CS_CODE_CONSUMER:
        return "consumer";
    case CS_CODE_NOTE:
        return "host, consumer: a note";
    case CS_CODE_BOTH:
        break;
    }
    return "host, consumer";
}

void cs_codes_text(struct cs_buf *out) {
    for (int c = 1; c < CS_CODE_COUNT; c++) {
        enum cs_code code = (enum cs_code)c;
        cs_buf_printf(out, "%s\n  %s\n  %s\n", cs_code_name(code), cs_code_sentence(code),
                      cs_code_hint(code));
    }
}

void cs_codes_markdown(struct cs_buf *out) {
    cs_buf_puts(out, "| code | said by | what it means | what to do |\n|---|---|---|---|\n");
    for (int c = 1; c < CS_CODE_COUNT; c++) {
        enum cs_code code = (enum cs_code)c;
        cs_buf_printf(out, "| `%s` | %s | ", cs_code_name(code), cs_code_said_by(code));
        cs_buf_put_cell(out, cs_code_sentence(code));
        cs_buf_puts(out, " | ");
        cs_buf_put_cell(out, cs_code_hint(code));
        cs_buf_puts(out, " |\n");
    }
}

void cs_codes_json(struct cs_buf *out) {
    cs_json_begin(out, '{');
    cs_json_name(out, "codes");
    cs_json_begin(out, '[');
    for (int c = 1; c < CS_CODE_COUNT; c++) {
        enum cs_code code = (enum cs_code)c;
        cs_json_begin(out, '{');
        cs_json_str(out, "code", cs_code_name(code));
        cs_json_str(out, "by", cs_code_said_by(code));
        cs_json_str(out, "sentence", cs_code_sentence(code));
        cs_json_str(out, "hint", cs_code_hint(code));
        cs_json_end(out, '}');
    }
    cs_json_end(out, ']');
    cs_json_end(out, '}');
    cs_buf_putc(out, '\n');
}
