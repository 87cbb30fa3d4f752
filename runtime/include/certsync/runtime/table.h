// SPDX-License-Identifier: Apache-2.0
//
// Tables for people. Columns are aligned by display width (UTF-8; wide East Asian characters count
// two). Control characters and invalid UTF-8 are shown as '?', so that others' texts cannot control
// the terminal. On a terminal the widest columns are cut ("…") to fit, and the header is bold.
// Elsewhere nothing is cut, and no escape is written. Not thread-safe. Out of memory is sticky and
// makes cs_table_print return false.
#pragma once

#include <stdio.h>

#include "certsync/base/err.h"

#define CS_TABLE_COLUMNS_MAX 24

struct cs_table;
// headers: NULL-terminated, at most CS_TABLE_COLUMNS_MAX (more: nothing is printed). A header that begins with '>' makes its column right-aligned.
struct cs_table *cs_table_new(const char *const *headers); // NULL: out of memory
void cs_table_free(struct cs_table *t);
CS_DEFINE_AUTO(struct cs_table, cs_table_free)
// Cells are given in order, row after row; the text is copied. NULL is an empty cell.
void cs_table_cell(struct cs_table *t, const char *text);
void cs_table_cellf(struct cs_table *t, const char *fmt, ...) CS_PRINTF(2, 3);
size_t cs_table_rows(const struct cs_table *t); // complete rows
// False: out of memory, or writing failed. Takes NULL (false).
bool cs_table_print(const struct cs_table *t, FILE *out);
// The same as CSV (RFC 4180, lines end with a line feed): the headers in lower case with '_' for blanks.
// A text that a spreadsheet would take for a formula gets a ' before it.
bool cs_table_print_csv(const struct cs_table *t, FILE *out);
// The same with a given width in columns (0: no limit) and style, for tests.
bool cs_table_print_width(const struct cs_table *t, FILE *out, size_t width, bool bold);
