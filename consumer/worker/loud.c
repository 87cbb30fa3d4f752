// SPDX-License-Identifier: Apache-2.0
#include "worker/loud.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "certsync/base/keyed.h"

struct counted {
    struct cs_keyed keyed;
    int64_t events;
    int64_t told; // of these, to the series
    bool shown;
    char account[];
};

struct cs_loud {
    pthread_mutex_t lock;
    struct cs_metric *metric;
    struct cs_keyed_table accounts;
};

static struct counted *at(const struct cs_loud *l, size_t i) {
    return (struct counted *)(void *)l->accounts.items[i];
}

// The louder first; of two as loud the one by name, so that a scrape does not change what is shown.
static int by_events(const void *a, const void *b) {
    const struct counted *const *x = a, *const *y = b;
    if ((*x)->events != (*y)->events)
        return (*x)->events > (*y)->events ? -1 : 1;
    return strcmp((*x)->account, (*y)->account);
}

static struct counted **sorted(const struct cs_loud *l) {
    struct counted **all = calloc(l->accounts.len + 1, sizeof(struct counted *));
    for (size_t i = 0; all && i < l->accounts.len; i++)
        all[i] = at(l, i);
    if (all)
        qsort(all, l->accounts.len, sizeof(struct counted *), by_events);
    return all;
}

static void forget(struct cs_loud *l, struct counted *c) {
    if (c->shown)
        cs_series_hide(cs_metric_1(l->metric, c->account));
    cs_keyed_remove(&l->accounts, &c->keyed);
    free(c);
}

static void forget_silent(struct cs_loud *l) {
    struct counted **all = sorted(l);
    size_t n = l->accounts.len;
    for (size_t i = n / 2; all && i < n; i++)
        forget(l, all[i]);
    free(all);
}

static struct counted *find(struct cs_loud *l, const char *account) {
    struct counted *c = cs_keyed_get(&l->accounts, account);
    if (c)
        return c;
    if (l->accounts.len >= CS_LOUD_COUNTED)
        forget_silent(l);
    size_t size = strlen(account) + 1;
    c = calloc(1, sizeof *c + size);
    if (!c)
        return NULL;
    memcpy(c->account, account, size);
    c->keyed = cs_keyed_of(c->account);
    if (cs_keyed_add(&l->accounts, &c->keyed))
        return c;
    free(c);
    return NULL;
}

void cs_loud_count(struct cs_loud *l, const char *account, int64_t n) {
    if (!l || !account[0])
        return;
    pthread_mutex_lock(&l->lock);
    struct counted *c = find(l, account);
    if (c)
        c->events += n;
    pthread_mutex_unlock(&l->lock);
}

static void render(void *arg) {
    struct cs_loud *l = arg;
    pthread_mutex_lock(&l->lock);
    struct counted **all = sorted(l);
    for (size_t i = 0; all && i < l->accounts.len; i++) {
        struct counted *c = all[i];
        bool show = i < CS_LOUD_SHOWN;
        struct cs_series *series = show || c->shown ? cs_metric_1(l->metric, c->account) : NULL;
        if (show)
            cs_series_add(series, (uint64_t)(c->events - c->told));
        else if (c->shown)
            cs_series_hide(series);
        c->told = show ? c->events : c->told;
        c->shown = show;
    }
    free(all);
    pthread_mutex_unlock(&l->lock);
}

bool cs_loud_new(struct cs_metrics *registry, struct cs_loud **ret, struct cs_err *err) {
    static const char *const by_account[] = {"account", NULL};
    struct cs_loud *l = calloc(1, sizeof *l);
    if (!l)
        return cs_err_oom(err);
    pthread_mutex_init(&l->lock, NULL);
    l->metric =
        cs_metrics_counter(registry, "certsync_account_events_total",
                           "Events that were decided, of the 20 accounts that brought most.", by_account);
    cs_metrics_on_render(registry, render, l);
    *ret = l;
    return true;
}

void cs_loud_free(struct cs_loud *l) {
    if (!l)
        return;
    for (size_t i = 0; i < l->accounts.len; i++)
        free(at(l, i));
    cs_keyed_free(&l->accounts);
    pthread_mutex_destroy(&l->lock);
    free(l);
}
