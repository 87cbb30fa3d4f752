// SPDX-License-Identifier: Apache-2.0
// What others wrote never steers the terminal, whichever way it comes to it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "certsync/base/text.h"
#include "certsync/runtime/table.h"
#include "certsync/runtime/terminal.h"

// s, written in pieces of `piece` bytes.
static void expect(const char *s, size_t piece, const char *shown) {
    char *out = NULL;
    size_t len = 0, all = strlen(s);
    FILE *to = open_memstream(&out, &len);
    FILE *f = cs_terminal_open(to, false);
    assert_non_null(f);
    for (size_t at = 0; at < all; at += piece)
        assert_int_equal(fwrite(s + at, 1, all - at < piece ? all - at : piece, f),
                         all - at < piece ? all - at : piece);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(fclose(to), 0);
    assert_string_equal(out, shown);
    free(out);
}

static const struct {
    const char *text, *shown;
} rows[] = {
    {"www.example.com\n", "www.example.com\n"},
    {"a\tZ\xC3\xBCrich \xE4\xBD\xA0\xE5\xA5\xBD \xF0\x9F\x98\x80\n",
     "a\tZ\xC3\xBCrich \xE4\xBD\xA0\xE5\xA5\xBD \xF0\x9F\x98\x80\n"},
    {"\xE2\x80\xAE"
     "gpj.exe",
     "\\u202Egpj.exe"},                               // right-to-left override
    {"pay\xE2\x80\x8Bpal", "pay\\u200Bpal"},          // zero width space
    {"\xE2\x81\xA6x\xE2\x81\xA9", "\\u2066x\\u2069"}, // isolates
    {"\xD8\x9C\xEF\xBB\xBF\xC2\xAD", "\\u061C\\uFEFF\\u00AD"},
    {"\x1B[2Jgone\x1B]0;title\x07", "\\u001B[2Jgone\\u001B]0;title\\u0007"},
    {"\xC2\x9B"
     "2J",
     "\\u009B2J"}, // CSI as C1
    {"a\rb\bc\x7F", "a\\u000Db\\u0008c\\u007F"},
    {"\xF3\xA0\x81\x81", "\\uDB40\\uDC41"}, // a tag
    {"\xFF\xC3(", "\\u00FF\\u00C3("},
    {"cut \xE2\x80", "cut \\u00E2\\u0080"},
    {"{\"name\":\"a\xE2\x80\xAE\"}\n", "{\"name\":\"a\\u202E\"}\n"}, // the same in JSON
};

static void hidden_characters_are_shown(void **state) {
    (void)state;
    for (size_t i = 0; i < CS_ARRAY_LEN(rows); i++)
        for (size_t piece = 1; piece < 6; piece++)
            expect(rows[i].text, piece, rows[i].shown);
    expect("\033[1mNAME\033[0m\n", 100, "\033[1mNAME\033[0m\n");
}

static void tables_and_messages_too(void **state) {
    (void)state;
    char *out = NULL, shown[100];
    size_t len = 0;
    FILE *to = open_memstream(&out, &len);
    struct cs_table *t = cs_table_new((const char *const[]){"NAME", "LABEL", NULL});
    cs_table_cell(t, "a\xE2\x80\xAE"
                     "b");
    cs_table_cell(t, "\x1B[2J");
    assert_true(cs_table_print_width(t, to, 0, false));
    fclose(to);
    assert_string_equal(out, "NAME      LABEL\na\\u202Eb  \\u001B[2J\n");
    free(out);
    cs_table_free(t);
    cs_text_escape("a\xE2\x80\xAE\xE2\x80\x8B\xC3\xBC", 9, shown, sizeof shown);
    assert_string_equal(shown, "a\\xE2\\x80\\xAE\\xE2\\x80\\x8B\xC3\xBC");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hidden_characters_are_shown),
        cmocka_unit_test(tables_and_messages_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
