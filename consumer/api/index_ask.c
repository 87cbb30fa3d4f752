// SPDX-License-Identifier: Apache-2.0
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/index_internal.h"
#include "certsync/base/grow.h"

#define FOREVER (INT64_MAX / 2)

// What all rows have: see ROW in api/index.c.
enum {
    COL_E,
    COL_A,
    COL_P,
    COL_ACCOUNT,
    COL_NAME,
    COL_OWNER,
    COL_ID,
    COL_ENDS,
    COL_STARTS,
    COL_SOURCE,
    COL_ALGORITHM
};

struct ask {
    struct api_index *x;
    const struct api_index_query *q;
    int64_t a;               // the account's number
    int64_t lowest, highest; // ends that can have the status
    struct api_hit *found;
    size_t found_len, found_cap;
};

static enum api_sql of(const struct ask *k, enum api_sql all) {
    return k->q->account[0] ? all + 1 : all;
}

static void column(const sqlite3_stmt *s, int at, char *to, size_t size) {
    snprintf(to, size, "%s", (const char *)sqlite3_column_text((sqlite3_stmt *)s, at));
}

static void read_hit(sqlite3_stmt *s, struct api_hit *ret) {
    ret->partition = sqlite3_column_int(s, COL_P);
    ret->ends_s = sqlite3_column_int64(s, COL_ENDS);
    column(s, COL_ACCOUNT, ret->account, sizeof ret->account);
    column(s, COL_OWNER, ret->owner, sizeof ret->owner);
    column(s, COL_ID, ret->id, sizeof ret->id);
    column(s, COL_NAME, ret->name, sizeof ret->name);
}

static int compare_names(const struct api_hit *a, const struct api_hit *b) {
    int order = strcmp(a->account, b->account);
    order = order ? order : strcmp(a->name, b->name);
    order = order ? order : strcmp(a->id, b->id);
    return order ? order : strcmp(a->owner, b->owner);
}

static int by_name(const void *a, const void *b) {
    return compare_names(a, b);
}

static int by_expiry(const void *a, const void *b) {
    const struct api_hit *x = a, *y = b;
    return x->ends_s != y->ends_s ? (x->ends_s < y->ends_s ? -1 : 1) : compare_names(x, y);
}

// ---- whether a row is what was asked for

static bool status_passes(const struct ask *k, sqlite3_stmt *s) {
    const struct api_filter *f = k->q->filter;
    int64_t ends_s = sqlite3_column_int64(s, COL_ENDS), starts_s = sqlite3_column_int64(s, COL_STARTS);
    enum api_status status = ends_s < k->q->now_s                 ? API_EXPIRED
                             : starts_s > k->q->now_s             ? API_NOT_YET_VALID
                             : ends_s - k->q->now_s < f->within_s ? API_EXPIRING
                                                                  : API_VALID;
    return !f->has_status || status == f->status;
}

static bool columns_pass(const struct ask *k, sqlite3_stmt *s) {
    const struct api_filter *f = k->q->filter;
    char name[CS_NAME_MAX + 1];
    column(s, COL_NAME, name, sizeof name);
    if (strncmp(name, f->prefix, strlen(f->prefix)) != 0)
        return false;
    for (char *c = name; *c; c++)
        if (*c >= 'A' && *c <= 'Z')
            *c = (char)(*c - 'A' + 'a');
    return strstr(name, f->part) && status_passes(k, s) &&
           (!f->has_source || sqlite3_column_int(s, COL_SOURCE) == (int)f->source) &&
           (!f->has_algorithm || sqlite3_column_int(s, COL_ALGORITHM) == (int)f->algorithm);
}

static bool has_word(const struct ask *k, int64_t word, int64_t a, int64_t e, bool *ret, struct cs_err *err) {
    sqlite3_stmt *s = api_index_sql(k->x, API_SQL_HAS_WORD);
    sqlite3_bind_int64(s, 1, word);
    sqlite3_bind_int64(s, 2, a);
    sqlite3_bind_int64(s, 3, e);
    bool ok = api_index_step(k->x, s, ret, err);
    sqlite3_reset(s);
    return ok;
}

static bool row_passes(const struct ask *k, sqlite3_stmt *s, bool *ret, struct cs_err *err) {
    const struct api_filter *f = k->q->filter;
    *ret = columns_pass(k, s);
    for (size_t i = 0; *ret && i < f->wanted_len; i++) {
        const struct api_wanted *w = &f->wanted[i];
        *ret = false;
        for (size_t n = 0; !*ret && n < w->len; n++)
            if (!has_word(k, api_index_word(k->x, w->kind[n], w->text[n]), sqlite3_column_int64(s, COL_A),
                          sqlite3_column_int64(s, COL_E), ret, err))
                return false;
    }
    return true;
}

// ---- which filter names the least

struct driver {
    bool ends; // the times; else words, all of which are looked up
    int64_t words[2];
    size_t words_len;
    int64_t count;
};

static bool count_word(const struct ask *k, int64_t word, int64_t most, int64_t *ret, struct cs_err *err) {
    sqlite3_stmt *s = api_index_sql(k->x, of(k, API_SQL_COUNT_WORD));
    bool row = false;
    sqlite3_bind_int64(s, 1, word);
    sqlite3_bind_int64(s, 2, most);
    if (k->q->account[0])
        sqlite3_bind_int64(s, 3, k->a);
    if (!api_index_step(k->x, s, &row, err))
        return false;
    *ret += row ? sqlite3_column_int64(s, 0) : 0;
    sqlite3_reset(s);
    return true;
}

static void bind_ends(const struct ask *k, sqlite3_stmt *s) {
    sqlite3_bind_int64(s, 1, k->lowest);
    sqlite3_bind_int64(s, 3, k->highest);
    if (k->q->account[0])
        api_index_text(s, 4, k->q->account);
}

static bool count_ends(const struct ask *k, int64_t most, int64_t *ret, struct cs_err *err) {
    sqlite3_stmt *s = api_index_sql(k->x, of(k, API_SQL_COUNT_ENDS));
    bool row = false;
    bind_ends(k, s);
    sqlite3_bind_int64(s, 2, most);
    if (!api_index_step(k->x, s, &row, err))
        return false;
    *ret = row ? sqlite3_column_int64(s, 0) : 0;
    sqlite3_reset(s);
    return true;
}

static bool try_words(const struct ask *k, const struct driver *d, struct driver *best, struct cs_err *err) {
    struct driver next = *d;
    for (size_t i = 0; i < next.words_len; i++)
        if (!count_word(k, next.words[i], API_INDEX_GATHER + 1, &next.count, err))
            return false;
    if (next.count < best->count)
        *best = next;
    return true;
}

static bool try_text(const struct ask *k, const char *text, struct driver *best, struct cs_err *err) {
    for (size_t i = 0; i + API_PART_MIN <= strlen(text); i++) {
        char word[API_PART_MIN + 1];
        for (size_t n = 0; n < API_PART_MIN; n++) {
            char c = text[i + n];
            word[n] = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
        }
        word[API_PART_MIN] = '\0';
        if (!try_words(k, &(struct driver){.words = {api_index_word(k->x, 'n', word)}, .words_len = 1}, best,
                       err))
            return false;
    }
    return true;
}

static bool choose(const struct ask *k, struct driver *ret, struct cs_err *err) {
    const struct api_filter *f = k->q->filter;
    *ret = (struct driver){.count = INT64_MAX};
    for (size_t i = 0; i < f->wanted_len; i++) {
        const struct api_wanted *w = &f->wanted[i];
        struct driver d = {.words_len = w->len};
        for (size_t n = 0; n < w->len; n++)
            d.words[n] = api_index_word(k->x, w->kind[n], w->text[n]);
        if (!try_words(k, &d, ret, err))
            return false;
    }
    if (!try_text(k, f->part, ret, err) || !try_text(k, f->prefix, ret, err))
        return false;
    struct driver ends = {.ends = true};
    if (!f->has_status)
        return true;
    if (!count_ends(k, API_INDEX_GATHER + 1, &ends.count, err))
        return false;
    if (ends.count < ret->count)
        *ret = ends;
    return true;
}

// ---- few: all that one filter names, held against the others, and sorted

static bool gather_rows(struct ask *k, sqlite3_stmt *s, struct cs_err *err) {
    for (bool row = true;;) {
        bool passes = false;
        if (!api_index_step(k->x, s, &row, err))
            return false;
        if (!row)
            return true;
        if (!row_passes(k, s, &passes, err))
            return false;
        if (!passes)
            continue;
        if (!CS_GROW(&k->found, &k->found_cap, k->found_len + 1))
            return cs_err_oom(err);
        read_hit(s, &k->found[k->found_len++]);
    }
}

static bool gather(struct ask *k, const struct driver *d, struct cs_err *err) {
    if (d->ends) {
        sqlite3_stmt *s = api_index_sql(k->x, of(k, API_SQL_ENDS));
        bind_ends(k, s);
        return gather_rows(k, s, err);
    }
    for (size_t i = 0; i < d->words_len; i++) {
        sqlite3_stmt *s = api_index_sql(k->x, of(k, API_SQL_WORD));
        sqlite3_bind_int64(s, 1, d->words[i]);
        if (k->q->account[0])
            sqlite3_bind_int64(s, 3, k->a);
        if (!gather_rows(k, s, err))
            return false;
    }
    return true;
}

static void answer_few(struct ask *k, struct api_index_answer *ret) {
    const struct api_index_query *q = k->q;
    int (*compare)(const void *, const void *) = q->by_expiry ? by_expiry : by_name;
    if (k->found_len > 0)
        qsort(k->found, k->found_len, sizeof k->found[0], compare);
    for (size_t i = 0; i < k->found_len; i++) {
        if (i > 0 && compare(&k->found[i - 1], &k->found[i]) == 0)
            continue; // found by two words
        ret->total++;
        if (q->after && compare(&k->found[i], q->after) <= 0)
            continue;
        if (ret->len == q->limit) {
            ret->more = true;
            continue;
        }
        ret->hits[ret->len++] = ret->last = k->found[i];
    }
    ret->total_exact = true;
}

// ---- many: one after the other in their order

static sqlite3_stmt *walk_from(const struct ask *k, const struct api_hit *after) {
    const struct api_index_query *q = k->q;
    sqlite3_stmt *s = api_index_sql(k->x, of(k, q->by_expiry ? API_SQL_WALK_ENDS : API_SQL_WALK));
    if (q->by_expiry && after && after->ends_s < k->lowest)
        after = NULL; // time went on
    api_index_text(s, 1, q->account[0] ? q->account : after ? after->account : "");
    api_index_text(s, 2, after ? after->name : q->by_expiry || !q->account[0] ? "" : q->filter->prefix);
    api_index_text(s, 3, after ? after->id : "");
    api_index_text(s, 4, after ? after->owner : "");
    if (q->by_expiry)
        sqlite3_bind_int64(s, 5, after ? after->ends_s : k->lowest);
    return s;
}

// Nothing after this row can be what was asked for.
static bool is_past(const struct ask *k, const struct api_hit *at) {
    const struct api_filter *f = k->q->filter;
    if (k->q->by_expiry)
        return at->ends_s > k->highest;
    return k->q->account[0] && f->prefix[0] && strncmp(at->name, f->prefix, strlen(f->prefix)) > 0;
}

static bool answer_many(struct ask *k, struct api_index_answer *ret, struct cs_err *err) {
    sqlite3_stmt *s = walk_from(k, k->q->after);
    for (size_t steps = 0;; steps++) {
        struct api_hit at;
        bool row = false, passes = false;
        if (!api_index_step(k->x, s, &row, err))
            return false;
        if (!row)
            return true;
        read_hit(s, &at);
        if (is_past(k, &at))
            break;
        ret->more = steps >= API_INDEX_STEPS;
        if (ret->more)
            break;
        if (!row_passes(k, s, &passes, err))
            return false;
        ret->more = passes && ret->len == k->q->limit;
        if (ret->more)
            break;
        ret->last = at;
        if (passes)
            ret->hits[ret->len++] = at;
    }
    sqlite3_reset(s);
    return true;
}

// One word, and nothing else: the database counts faster.
static bool is_one_word(const struct api_filter *f) {
    return f->wanted_len == 1 && f->wanted[0].len == 1 && !f->prefix[0] && !f->part[0] && !f->has_status &&
           !f->has_source && !f->has_algorithm;
}

static bool count_many(struct ask *k, struct api_index_answer *ret, struct cs_err *err) {
    const struct api_wanted *w = &k->q->filter->wanted[0];
    ret->total_exact = true;
    if (is_one_word(k->q->filter))
        return count_word(k, api_index_word(k->x, w->kind[0], w->text[0]), FOREVER, &ret->total, err);
    sqlite3_stmt *s = walk_from(k, NULL);
    for (size_t steps = 0;; steps++) {
        struct api_hit at;
        bool row = false, passes = false;
        if (!api_index_step(k->x, s, &row, err))
            return false;
        if (!row)
            return true;
        read_hit(s, &at);
        if (is_past(k, &at))
            break;
        ret->total_exact = steps < API_INDEX_COUNT;
        if (!ret->total_exact)
            break;
        if (!row_passes(k, s, &passes, err))
            return false;
        ret->total += passes;
    }
    sqlite3_reset(s);
    return true;
}

// ---- a question

// Ends that can have the status at all.
static void bound(struct ask *k) {
    const struct api_filter *f = k->q->filter;
    int64_t now_s = k->q->now_s, soon_s = now_s + f->within_s;
    k->lowest = -FOREVER;
    k->highest = FOREVER;
    if (!f->has_status)
        return;
    switch (f->status) {
    case API_EXPIRED:
        k->highest = now_s - 1;
        return;
    case API_EXPIRING:
        k->lowest = now_s;
        k->highest = soon_s - 1;
        return;
    case API_VALID:
        k->lowest = soon_s;
        return;
    case API_NOT_YET_VALID:
        k->lowest = now_s;
        return;
    }
}

bool api_index_ask(struct api_index *x, const struct api_index_query *q, struct api_index_answer *ret,
                   struct cs_err *err) {
    struct ask k = {.x = x, .q = q};
    struct driver d;
    ret->len = 0;
    ret->more = ret->total_exact = false;
    ret->total = 0;
    bound(&k);
    if (q->account[0] && !api_index_account(x, q->account, &k.a, err))
        return false;
    if (!choose(&k, &d, err))
        return false;
    bool ok = false;
    if (d.count <= API_INDEX_GATHER) {
        ok = gather(&k, &d, err);
        if (ok)
            answer_few(&k, ret);
    } else {
        ok = answer_many(&k, ret, err) && (!q->count || count_many(&k, ret, err));
    }
    free(k.found);
    return ok;
}
