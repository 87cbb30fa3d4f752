// SPDX-License-Identifier: Apache-2.0
//
// What the files of the index share: api/index.c (tables, changes), api/index_ask.c (questions).
#pragma once

#include <sqlite3.h>

#include "api/index.h"

enum api_sql {
    API_SQL_ACCOUNT,
    API_SQL_ADD_ACCOUNT,
    API_SQL_FIND,
    API_SQL_PUT,
    API_SQL_PUT_WORD,
    API_SQL_REMOVE,
    API_SQL_OF_PARTITION,
    API_SQL_OF_ACCOUNT,
    API_SQL_REMOVE_WORD,
    API_SQL_HAS_WORD,
    // Each also of one account: the next one.
    API_SQL_COUNT_WORD,
    API_SQL_COUNT_WORD_OF,
    API_SQL_COUNT_ENDS,
    API_SQL_COUNT_ENDS_OF,
    API_SQL_WORD,
    API_SQL_WORD_OF,
    API_SQL_ENDS,
    API_SQL_ENDS_OF,
    API_SQL_WALK,
    API_SQL_WALK_OF,
    API_SQL_WALK_ENDS,
    API_SQL_WALK_ENDS_OF,
    API_SQL_COUNT
};

struct api_index {
    sqlite3 *db;
    sqlite3_stmt *sql[API_SQL_COUNT];
    uint64_t seed;
    int64_t size;
};

// Sets err from the database. Always false.
bool api_index_fault(const struct api_index *x, struct cs_err *err);
// The statement, ready for its values.
sqlite3_stmt *api_index_sql(struct api_index *x, enum api_sql which);
void api_index_text(sqlite3_stmt *s, int at, const char *text);
// The next row. At the end and after a failure the statement is reset.
CS_MUST_USE bool api_index_step(struct api_index *x, sqlite3_stmt *s, bool *ret_row, struct cs_err *err);
// The number of an account; 0: it has none.
CS_MUST_USE bool api_index_account(struct api_index *x, const char *account, int64_t *ret,
                                   struct cs_err *err);
int64_t api_index_word(const struct api_index *x, char kind, const char *text);
