// SPDX-License-Identifier: Apache-2.0
//
// Tables and changes; questions are in api/index_ask.c. A word is kept as 48 bits of a hash with a secret seed.
// Two words with one hash only bring a certificate more that is then refused.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "api/index_internal.h"

#define WORDS_MAX 1024 // of one certificate: a pair of 100 names each has fewer

static const char schema[] =
    "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA temp_store=MEMORY; PRAGMA "
    "locking_mode=EXCLUSIVE;"
    "CREATE TABLE account(a INTEGER PRIMARY KEY, account TEXT NOT NULL UNIQUE, p INTEGER NOT NULL);"
    "CREATE TABLE entry(e INTEGER PRIMARY KEY, a INTEGER, p INTEGER, account TEXT, name TEXT, owner TEXT,"
    " id TEXT, ends INTEGER, starts INTEGER, source INTEGER, algorithm INTEGER, words BLOB);"
    "CREATE UNIQUE INDEX by_id ON entry(a, id, owner);"
    "CREATE INDEX by_name ON entry(account, name, id, owner);"
    "CREATE INDEX by_end ON entry(account, ends, name, id, owner);"
    "CREATE INDEX all_by_end ON entry(ends, account, name, id, owner);"
    "CREATE INDEX of_partition ON account(p);"
    "CREATE TABLE word(w INTEGER, a INTEGER, e INTEGER, PRIMARY KEY(w, a, e)) WITHOUT ROWID;";

static const char *const texts[API_SQL_COUNT] = {
    [API_SQL_ACCOUNT] = "SELECT a FROM account WHERE account=?1",
    [API_SQL_ADD_ACCOUNT] = "INSERT INTO account(account, p) VALUES(?1, ?2)",
    [API_SQL_FIND] = "SELECT e, words FROM entry WHERE a=?1 AND id=?2 AND owner=?3",
    [API_SQL_PUT] =
        "INSERT INTO entry(a, p, account, name, owner, id, ends, starts, source, algorithm, words)"
        " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    [API_SQL_PUT_WORD] = "INSERT OR IGNORE INTO word(w, a, e) VALUES(?1, ?2, ?3)",
    [API_SQL_REMOVE] = "DELETE FROM entry WHERE e=?1",
    [API_SQL_OF_PARTITION] = "SELECT a FROM account WHERE p=?1 AND a>?2 ORDER BY a LIMIT 1",
    [API_SQL_OF_ACCOUNT] = "SELECT id, owner FROM entry WHERE a=?1 LIMIT 1",
    [API_SQL_REMOVE_WORD] = "DELETE FROM word WHERE w=?1 AND a=?2 AND e=?3",
    [API_SQL_HAS_WORD] = "SELECT 1 FROM word WHERE w=?1 AND a=?2 AND e=?3",
    [API_SQL_COUNT_WORD] = "SELECT count(*) FROM (SELECT 1 FROM word WHERE w=?1 LIMIT ?2)",
    [API_SQL_COUNT_WORD_OF] = "SELECT count(*) FROM (SELECT 1 FROM word WHERE w=?1 AND a=?3 LIMIT ?2)",
    [API_SQL_COUNT_ENDS] =
        "SELECT count(*) FROM (SELECT 1 FROM entry INDEXED BY all_by_end WHERE ends>=?1 AND "
        "ends<=?3 LIMIT ?2)",
    [API_SQL_COUNT_ENDS_OF] =
        "SELECT count(*) FROM (SELECT 1 FROM entry INDEXED BY by_end WHERE account=?4 AND "
        "ends>=?1 AND ends<=?3 LIMIT ?2)",
#define ROW "SELECT entry.e, entry.a, p, account, name, owner, id, ends, starts, source, algorithm FROM "
    [API_SQL_WORD] = ROW "word CROSS JOIN entry ON entry.e=word.e WHERE w=?1",
    [API_SQL_WORD_OF] = ROW "word CROSS JOIN entry ON entry.e=word.e WHERE w=?1 AND word.a=?3",
    [API_SQL_ENDS] = ROW "entry INDEXED BY all_by_end WHERE ends>=?1 AND ends<=?3",
    [API_SQL_ENDS_OF] = ROW "entry INDEXED BY by_end WHERE account=?4 AND ends>=?1 AND ends<=?3",
    [API_SQL_WALK] = ROW "entry INDEXED BY by_name WHERE (account, name, id, owner) > (?1, ?2, ?3, ?4)"
                         " ORDER BY account, name, id, owner",
    [API_SQL_WALK_OF] = ROW "entry INDEXED BY by_name WHERE account=?1 AND (name, id, owner) > (?2, ?3, ?4)"
                            " ORDER BY name, id, owner",
    [API_SQL_WALK_ENDS] =
        ROW "entry INDEXED BY all_by_end WHERE (ends, account, name, id, owner) > (?5, ?1, ?2, ?3, ?4)"
            " ORDER BY ends, account, name, id, owner",
    [API_SQL_WALK_ENDS_OF] =
        ROW "entry INDEXED BY by_end WHERE account=?1 AND (ends, name, id, owner) > (?5, ?2, ?3, ?4)"
            " ORDER BY ends, name, id, owner",
#undef ROW
};

bool api_index_fault(const struct api_index *x, struct cs_err *err) {
    return cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE, "the index of certificates: %s",
                      x->db ? sqlite3_errmsg(x->db) : "out of memory");
}

bool api_index_new(struct api_index **ret, struct cs_err *err) {
    CS_AUTO(api_index_free) struct api_index *x = calloc(1, sizeof *x);
    if (!x)
        return cs_err_oom(err);
    if (getrandom(&x->seed, sizeof x->seed, 0) != (ssize_t)sizeof x->seed)
        return cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE, "the system gives no random bytes");
    const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_MEMORY | SQLITE_OPEN_NOMUTEX;
    if (sqlite3_open_v2(":memory:", &x->db, flags, NULL) != SQLITE_OK ||
        sqlite3_exec(x->db, schema, NULL, NULL, NULL) != SQLITE_OK)
        return api_index_fault(x, err);
    for (size_t i = 0; i < API_SQL_COUNT; i++)
        if (sqlite3_prepare_v3(x->db, texts[i], -1, SQLITE_PREPARE_PERSISTENT, &x->sql[i], NULL) != SQLITE_OK)
            return api_index_fault(x, err);
    *ret = CS_TAKE(x);
    return true;
}

void api_index_free(struct api_index *x) {
    if (!x)
        return;
    for (size_t i = 0; i < API_SQL_COUNT; i++)
        sqlite3_finalize(x->sql[i]);
    sqlite3_close(x->db);
    free(x);
}

int64_t api_index_size(const struct api_index *x) {
    return x->size;
}

int64_t api_index_bytes(const struct api_index *x) {
    int now = 0, ignored = 0;
    sqlite3_db_status(x->db, SQLITE_DBSTATUS_CACHE_USED, &now, &ignored, 0);
    return now;
}

// ---- statements

sqlite3_stmt *api_index_sql(struct api_index *x, enum api_sql which) {
    sqlite3_stmt *s = x->sql[which];
    sqlite3_reset(s);
    return s;
}

void api_index_text(sqlite3_stmt *s, int at, const char *text) {
    sqlite3_bind_text(s, at, text, -1, SQLITE_TRANSIENT);
}

bool api_index_step(struct api_index *x, sqlite3_stmt *s, bool *ret_row, struct cs_err *err) {
    int code = sqlite3_step(s);
    *ret_row = code == SQLITE_ROW;
    if (code == SQLITE_ROW)
        return true;
    sqlite3_reset(s); // it must not hold a cursor while others write
    return code == SQLITE_DONE || api_index_fault(x, err);
}

static bool run(struct api_index *x, sqlite3_stmt *s, struct cs_err *err) {
    bool ignored;
    bool ok = api_index_step(x, s, &ignored, err);
    sqlite3_reset(s);
    return ok;
}

bool api_index_begin(struct api_index *x, struct cs_err *err) {
    return sqlite3_exec(x->db, "BEGIN", NULL, NULL, NULL) == SQLITE_OK || api_index_fault(x, err);
}

bool api_index_end(struct api_index *x, struct cs_err *err) {
    return sqlite3_exec(x->db, "COMMIT", NULL, NULL, NULL) == SQLITE_OK || api_index_fault(x, err);
}

bool api_index_account(struct api_index *x, const char *account, int64_t *ret, struct cs_err *err) {
    sqlite3_stmt *s = api_index_sql(x, API_SQL_ACCOUNT);
    bool row = false;
    *ret = 0;
    api_index_text(s, 1, account);
    if (!api_index_step(x, s, &row, err))
        return false;
    if (row)
        *ret = sqlite3_column_int64(s, 0);
    sqlite3_reset(s);
    return true;
}

static bool make_account(struct api_index *x, const char *account, int32_t partition, int64_t *ret,
                         struct cs_err *err) {
    if (!api_index_account(x, account, ret, err))
        return false;
    if (*ret != 0)
        return true;
    sqlite3_stmt *s = api_index_sql(x, API_SQL_ADD_ACCOUNT);
    api_index_text(s, 1, account);
    sqlite3_bind_int(s, 2, partition);
    if (!run(x, s, err))
        return false;
    *ret = sqlite3_last_insert_rowid(x->db);
    return true;
}

// ---- words

int64_t api_index_word(const struct api_index *x, char kind, const char *text) {
    char word[API_WORD_MAX + 2];
    size_t len = strnlen(text, API_WORD_MAX);
    word[0] = kind;
    memcpy(word + 1, text, len);
    return (int64_t)(XXH3_64bits_withSeed(word, len + 1, x->seed) >> 16);
}

struct words {
    const struct api_index *x;
    size_t len;
    int64_t list[WORDS_MAX];
};

static void add_word(void *arg, char kind, const char *text) {
    struct words *w = arg;
    int64_t word = api_index_word(w->x, kind, text);
    for (size_t i = 0; i < w->len; i++)
        if (w->list[i] == word)
            return;
    if (w->len < WORDS_MAX)
        w->list[w->len++] = word;
}

static bool each_word(struct api_index *x, enum api_sql which, const int64_t *words, size_t n, int64_t a,
                      int64_t e, struct cs_err *err) {
    for (size_t i = 0; i < n; i++) {
        sqlite3_stmt *s = api_index_sql(x, which);
        sqlite3_bind_int64(s, 1, words[i]);
        sqlite3_bind_int64(s, 2, a);
        sqlite3_bind_int64(s, 3, e);
        if (!run(x, s, err))
            return false;
    }
    return true;
}

// ---- changes

static bool remove_of(struct api_index *x, int64_t a, const char *owner, const char *id, struct cs_err *err) {
    sqlite3_stmt *s = api_index_sql(x, API_SQL_FIND);
    int64_t words[WORDS_MAX];
    bool row = false;
    sqlite3_bind_int64(s, 1, a);
    api_index_text(s, 2, id);
    api_index_text(s, 3, owner);
    if (!api_index_step(x, s, &row, err))
        return false;
    if (!row)
        return true;
    int64_t e = sqlite3_column_int64(s, 0);
    size_t n = (size_t)sqlite3_column_bytes(s, 1) / sizeof words[0];
    n = n < WORDS_MAX ? n : WORDS_MAX;
    if (n > 0)
        memcpy(words, sqlite3_column_blob(s, 1), n * sizeof words[0]);
    sqlite3_reset(s);
    s = api_index_sql(x, API_SQL_REMOVE);
    sqlite3_bind_int64(s, 1, e);
    if (!run(x, s, err) || !each_word(x, API_SQL_REMOVE_WORD, words, n, a, e, err))
        return false;
    x->size--;
    return true;
}

bool api_index_remove(struct api_index *x, const char *account, const char *owner, const char *id,
                      struct cs_err *err) {
    int64_t a = 0;
    return api_index_account(x, account, &a, err) && (a == 0 || remove_of(x, a, owner, id, err));
}

bool api_index_put(struct api_index *x, int32_t partition, const char *account, const char *owner,
                   const char *id, const struct cs_cert_summary *summary, struct cs_err *err) {
    struct words words = {.x = x};
    int64_t a = 0;
    if (!make_account(x, account, partition, &a, err) || !remove_of(x, a, owner, id, err))
        return false;
    api_words(summary, add_word, &words);
    sqlite3_stmt *s = api_index_sql(x, API_SQL_PUT);
    sqlite3_bind_int64(s, 1, a);
    sqlite3_bind_int(s, 2, partition);
    api_index_text(s, 3, account);
    api_index_text(s, 4, summary->name);
    api_index_text(s, 5, owner);
    api_index_text(s, 6, id);
    sqlite3_bind_int64(s, 7, cs_summary_ends(summary));
    sqlite3_bind_int64(s, 8, api_starts(summary));
    sqlite3_bind_int(s, 9, (int)(owner[0] ? CS_SOURCE_SHARED : summary->source));
    sqlite3_bind_int(s, 10, (int)summary->algorithm);
    sqlite3_bind_blob(s, 11, words.list, (int)(words.len * sizeof words.list[0]), SQLITE_TRANSIENT);
    if (!run(x, s, err) ||
        !each_word(x, API_SQL_PUT_WORD, words.list, words.len, a, sqlite3_last_insert_rowid(x->db), err))
        return false;
    x->size++;
    return true;
}

// One after the other, so that each takes its words along.
static bool drop_account(struct api_index *x, int64_t a, struct cs_err *err) {
    for (;;) {
        sqlite3_stmt *s = api_index_sql(x, API_SQL_OF_ACCOUNT);
        cs_uuid id;
        cs_account_id owner;
        bool row = false;
        sqlite3_bind_int64(s, 1, a);
        if (!api_index_step(x, s, &row, err))
            return false;
        if (!row)
            return true;
        snprintf(id, sizeof id, "%s", (const char *)sqlite3_column_text(s, 0));
        snprintf(owner, sizeof owner, "%s", (const char *)sqlite3_column_text(s, 1));
        sqlite3_reset(s);
        if (!remove_of(x, a, owner, id, err))
            return false;
    }
}

bool api_index_drop(struct api_index *x, int32_t partition, struct cs_err *err) {
    for (int64_t a = 0;;) {
        sqlite3_stmt *s = api_index_sql(x, API_SQL_OF_PARTITION);
        bool row = false;
        sqlite3_bind_int(s, 1, partition);
        sqlite3_bind_int64(s, 2, a);
        if (!api_index_step(x, s, &row, err))
            return false;
        if (!row)
            return true;
        a = sqlite3_column_int64(s, 0);
        sqlite3_reset(s);
        if (!drop_account(x, a, err))
            return false;
    }
}
