// SPDX-License-Identifier: Apache-2.0
#include "certsync/runtime/metrics.h"

#include <assert.h>
#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BOUNDS_MAX 24
#define HOOKS_MAX  16

enum kind { COUNTER, GAUGE, HISTOGRAM, READING };

struct cs_series {
    struct cs_metric *metric;
    struct cs_series *_Atomic next; // stored with release order, so that readers need no lock
    char *values[CS_METRIC_LABELS_MAX];
    _Atomic bool hidden;
    _Atomic uint64_t count;    // counter; histogram: observations
    _Atomic uint64_t bits;     // gauge; histogram: sum (a double's bits)
    _Atomic uint64_t *buckets; // histogram: not cumulative
};

struct cs_metric {
    struct cs_metrics *registry;
    struct cs_metric *next;
    enum kind kind;
    char *name;
    char *help;
    char *labels[CS_METRIC_LABELS_MAX];
    size_t label_count;
    double bounds[BOUNDS_MAX];
    size_t bound_count;
    struct cs_series *_Atomic first;
    size_t series_count;
};

struct hook {
    void (*fn)(void *arg);
    void *arg;
};

struct cs_metrics {
    pthread_mutex_t lock;        // for making metrics and series, and for hooks
    pthread_mutex_t render_lock; // held while hooks run, before the other one
    struct cs_metric *first, *last;
    struct hook hooks[HOOKS_MAX];
    size_t hook_count;
};

const double cs_metrics_seconds_bounds[] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
                                            0.5,   1,      2.5,   5,    10,    30,   60};
const size_t cs_metrics_seconds_bound_count = CS_ARRAY_LEN(cs_metrics_seconds_bounds);

static uint64_t to_bits(double v) {
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    return bits;
}

static double from_bits(uint64_t bits) {
    double v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

struct cs_metrics *cs_metrics_new(void) {
    struct cs_metrics *m = calloc(1, sizeof *m);
    if (m) {
        pthread_mutex_init(&m->lock, NULL);
        pthread_mutex_init(&m->render_lock, NULL);
    }
    return m;
}

static void series_free(struct cs_series *s) {
    for (size_t i = 0; i < CS_METRIC_LABELS_MAX; i++)
        free(s->values[i]);
    free(s->buckets);
    free(s);
}

static void metric_free(struct cs_metric *metric) {
    for (struct cs_series *s = atomic_load(&metric->first), *next; s; s = next) {
        next = atomic_load(&s->next);
        series_free(s);
    }
    for (size_t i = 0; i < CS_METRIC_LABELS_MAX; i++)
        free(metric->labels[i]);
    free(metric->name);
    free(metric->help);
    free(metric);
}

void cs_metrics_free(struct cs_metrics *m) {
    if (!m)
        return;
    for (struct cs_metric *metric = m->first, *next; metric; metric = next) {
        next = metric->next;
        metric_free(metric);
    }
    pthread_mutex_destroy(&m->lock);
    pthread_mutex_destroy(&m->render_lock);
    free(m);
}

static bool name_valid(const char *s, bool colon) {
    if (!isalpha((unsigned char)*s) && *s != '_')
        return false;
    for (; *s; s++) {
        if (!isalnum((unsigned char)*s) && *s != '_' && !(colon && *s == ':'))
            return false;
    }
    return true;
}

static bool ends_with(const char *s, const char *end) {
    size_t n = strlen(s), m = strlen(end);
    return n >= m && strcmp(s + n - m, end) == 0;
}

static bool is_known(const struct cs_metrics *m, const char *name) {
    for (const struct cs_metric *x = m->first; x; x = x->next) {
        if (strcmp(x->name, name) == 0)
            return true;
    }
    return false;
}

static bool copy_labels(struct cs_metric *metric, const char *const *labels) {
    for (; labels && labels[metric->label_count]; metric->label_count++) {
        assert(metric->label_count < CS_METRIC_LABELS_MAX);
        assert(name_valid(labels[metric->label_count], false));
        metric->labels[metric->label_count] = strdup(labels[metric->label_count]);
        if (!metric->labels[metric->label_count])
            return false;
    }
    return true;
}

static struct cs_metric *add_metric(struct cs_metrics *m, enum kind kind, const char *name, const char *help,
                                    const char *const *labels, const double *bounds, size_t bound_count) {
    if (!m)
        return NULL;
    assert(name_valid(name, true) && *help);
    assert((kind == COUNTER || kind == READING) == ends_with(name, "_total"));
    assert(bound_count <= BOUNDS_MAX);
    struct cs_metric *metric = calloc(1, sizeof *metric);
    if (!metric)
        return NULL;
    metric->registry = m;
    metric->kind = kind;
    metric->name = strdup(name);
    metric->help = strdup(help);
    metric->bound_count = bound_count;
    for (size_t i = 0; i < bound_count; i++)
        metric->bounds[i] = bounds[i];
    if (!metric->name || !metric->help || !copy_labels(metric, labels)) {
        metric_free(metric);
        return NULL;
    }
    pthread_mutex_lock(&m->lock);
    assert(!is_known(m, name));
    if (m->last)
        m->last->next = metric;
    else
        m->first = metric;
    m->last = metric;
    pthread_mutex_unlock(&m->lock);
    return metric;
}

struct cs_metric *cs_metrics_counter(struct cs_metrics *m, const char *name, const char *help,
                                     const char *const *labels) {
    return add_metric(m, COUNTER, name, help, labels, NULL, 0);
}

struct cs_metric *cs_metrics_reading(struct cs_metrics *m, const char *name, const char *help,
                                     const char *const *labels) {
    return add_metric(m, READING, name, help, labels, NULL, 0);
}

struct cs_metric *cs_metrics_gauge(struct cs_metrics *m, const char *name, const char *help,
                                   const char *const *labels) {
    return add_metric(m, GAUGE, name, help, labels, NULL, 0);
}

struct cs_metric *cs_metrics_histogram(struct cs_metrics *m, const char *name, const char *help,
                                       const char *const *labels, const double *bounds, size_t bound_count) {
    return add_metric(m, HISTOGRAM, name, help, labels, bounds, bound_count);
}

static struct cs_series *find_series(struct cs_metric *metric, const char *const *values) {
    for (struct cs_series *s = atomic_load_explicit(&metric->first, memory_order_acquire); s;
         s = atomic_load_explicit(&s->next, memory_order_acquire)) {
        size_t i = 0;
        while (i < metric->label_count && strcmp(s->values[i], values[i]) == 0)
            i++;
        if (i == metric->label_count)
            return s;
    }
    return NULL;
}

static struct cs_series *make_series(struct cs_metric *metric, const char *const *values) {
    struct cs_series *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->metric = metric;
    bool ok = true;
    for (size_t i = 0; i < metric->label_count; i++) {
        s->values[i] = strdup(values[i]);
        ok = ok && s->values[i];
    }
    if (metric->kind == HISTOGRAM) {
        s->buckets = calloc(metric->bound_count + 1, sizeof *s->buckets);
        ok = ok && s->buckets;
    }
    if (ok)
        return s;
    series_free(s);
    return NULL;
}

// Called with the lock. Appends, so that the output keeps its order.
static struct cs_series *append_series(struct cs_metric *metric, const char *const *values) {
    struct cs_series *s = make_series(metric, values);
    if (!s)
        return NULL;
    struct cs_series *_Atomic *at = &metric->first;
    for (struct cs_series *x; (x = atomic_load_explicit(at, memory_order_relaxed)) != NULL;)
        at = &x->next;
    atomic_store_explicit(at, s, memory_order_release);
    metric->series_count++;
    return s;
}

struct cs_series *cs_metric_series(struct cs_metric *metric, const char *const *values) {
    static const char *const others[CS_METRIC_LABELS_MAX] = {"other", "other", "other", "other"};
    if (!metric)
        return NULL;
    struct cs_series *s = find_series(metric, values);
    if (s)
        return s;
    pthread_mutex_lock(&metric->registry->lock);
    s = find_series(metric, values); // another thread may have made it
    if (!s && metric->series_count >= CS_METRIC_SERIES_MAX) {
        values = others;
        s = find_series(metric, values);
    }
    if (!s)
        s = append_series(metric, values);
    pthread_mutex_unlock(&metric->registry->lock);
    return s;
}

struct cs_series *cs_metric_0(struct cs_metric *metric) {
    assert(!metric || metric->label_count == 0);
    return cs_metric_series(metric, NULL);
}

struct cs_series *cs_metric_1(struct cs_metric *metric, const char *value) {
    assert(!metric || metric->label_count == 1);
    return cs_metric_series(metric, (const char *const[]){value});
}

struct cs_series *cs_metric_2(struct cs_metric *metric, const char *value1, const char *value2) {
    assert(!metric || metric->label_count == 2);
    return cs_metric_series(metric, (const char *const[]){value1, value2});
}

static void show(struct cs_series *s) {
    if (atomic_load_explicit(&s->hidden, memory_order_relaxed))
        atomic_store(&s->hidden, false);
}

void cs_series_inc(struct cs_series *s) {
    cs_series_add(s, 1);
}

void cs_series_add(struct cs_series *s, uint64_t n) {
    if (!s)
        return;
    assert(s->metric->kind == COUNTER);
    atomic_fetch_add_explicit(&s->count, n, memory_order_relaxed);
    show(s);
}

void cs_series_set(struct cs_series *s, double v) {
    if (!s)
        return;
    assert(s->metric->kind == GAUGE || s->metric->kind == READING);
    atomic_store_explicit(&s->bits, to_bits(v), memory_order_relaxed);
    show(s);
}

static void add_double(_Atomic uint64_t *bits, double d) {
    uint64_t old = atomic_load_explicit(bits, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(bits, &old, to_bits(from_bits(old) + d),
                                                  memory_order_relaxed, memory_order_relaxed))
        ;
}

void cs_series_adjust(struct cs_series *s, double d) {
    if (!s)
        return;
    assert(s->metric->kind == GAUGE);
    add_double(&s->bits, d);
    show(s);
}

void cs_series_observe(struct cs_series *s, double v) {
    if (!s)
        return;
    assert(s->metric->kind == HISTOGRAM);
    size_t i = 0;
    while (i < s->metric->bound_count && v > s->metric->bounds[i])
        i++;
    atomic_fetch_add_explicit(&s->buckets[i], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&s->count, 1, memory_order_relaxed);
    add_double(&s->bits, v);
    show(s);
}

double cs_series_value(const struct cs_series *s) {
    if (!s)
        return 0;
    if (s->metric->kind == GAUGE || s->metric->kind == READING)
        return from_bits(atomic_load(&s->bits));
    return (double)atomic_load(&s->count);
}

void cs_series_hide(struct cs_series *s) {
    if (s)
        atomic_store(&s->hidden, true);
}

void cs_metrics_on_render(struct cs_metrics *m, void (*fn)(void *arg), void *arg) {
    if (!m)
        return;
    pthread_mutex_lock(&m->lock);
    assert(m->hook_count < HOOKS_MAX);
    m->hooks[m->hook_count++] = (struct hook){fn, arg};
    pthread_mutex_unlock(&m->lock);
}

// Exposition format: backslash and line feed are escaped, in label values the quote too.
static void put_escaped(struct cs_buf *out, const char *s, bool quote) {
    for (; *s; s++) {
        if (*s == '\n')
            cs_buf_puts(out, "\\n");
        else if (*s == '\\' || (quote && *s == '"'))
            cs_buf_printf(out, "\\%c", *s);
        else
            cs_buf_putc(out, *s);
    }
}

static void put_number(struct cs_buf *out, double v) {
    if (isnan(v))
        cs_buf_puts(out, "NaN");
    else if (isinf(v))
        cs_buf_puts(out, v > 0 ? "+Inf" : "-Inf");
    else if (v == (double)(int64_t)v && fabs(v) < 1e15)
        cs_buf_printf(out, "%" PRId64, (int64_t)v);
    else
        cs_buf_printf(out, "%.17g", v);
}

// name_suffix{labels,le="..."}
static void put_series_name(struct cs_buf *out, const struct cs_series *s, const char *suffix,
                            const char *le) {
    const struct cs_metric *m = s->metric;
    cs_buf_printf(out, "%s%s", m->name, suffix);
    if (m->label_count == 0 && !le) {
        cs_buf_putc(out, ' ');
        return;
    }
    cs_buf_putc(out, '{');
    for (size_t i = 0; i < m->label_count; i++) {
        cs_buf_printf(out, "%s%s=\"", i ? "," : "", m->labels[i]);
        put_escaped(out, s->values[i], true);
        cs_buf_putc(out, '"');
    }
    if (le)
        cs_buf_printf(out, "%sle=\"%s\"", m->label_count ? "," : "", le);
    cs_buf_puts(out, "} ");
}

static void render_histogram(struct cs_buf *out, const struct cs_series *s) {
    uint64_t total = 0;
    for (size_t i = 0; i <= s->metric->bound_count; i++) {
        char le[32] = "+Inf";
        if (i < s->metric->bound_count)
            snprintf(le, sizeof le, "%g", s->metric->bounds[i]);
        total += atomic_load_explicit(&s->buckets[i], memory_order_relaxed);
        put_series_name(out, s, "_bucket", le);
        cs_buf_printf(out, "%" PRIu64 "\n", total);
    }
    put_series_name(out, s, "_sum", NULL);
    put_number(out, from_bits(atomic_load(&s->bits)));
    cs_buf_putc(out, '\n');
    // The count must equal the last bucket, also while others observe.
    put_series_name(out, s, "_count", NULL);
    cs_buf_printf(out, "%" PRIu64 "\n", total);
}

static void render_series(struct cs_buf *out, const struct cs_series *s) {
    switch (s->metric->kind) {
    case COUNTER:
        put_series_name(out, s, "", NULL);
        cs_buf_printf(out, "%" PRIu64 "\n", atomic_load(&s->count));
        return;
    case GAUGE:
    case READING:
        put_series_name(out, s, "", NULL);
        put_number(out, from_bits(atomic_load(&s->bits)));
        cs_buf_putc(out, '\n');
        return;
    case HISTOGRAM:
        render_histogram(out, s);
        return;
    }
}

void cs_metrics_render(struct cs_metrics *m, struct cs_buf *out) {
    static const char *const kinds[] = {"counter", "gauge", "histogram", "counter"};
    if (!m)
        return;
    pthread_mutex_lock(&m->lock);
    struct hook hooks[HOOKS_MAX];
    size_t count = m->hook_count;
    memcpy(hooks, m->hooks, sizeof hooks);
    struct cs_metric *metric = m->first;
    pthread_mutex_unlock(&m->lock);
    pthread_mutex_lock(&m->render_lock);
    for (size_t i = 0; i < count; i++)
        hooks[i].fn(hooks[i].arg);
    pthread_mutex_unlock(&m->render_lock);
    for (; metric;) {
        cs_buf_printf(out, "# HELP %s ", metric->name);
        put_escaped(out, metric->help, false);
        cs_buf_printf(out, "\n# TYPE %s %s\n", metric->name, kinds[metric->kind]);
        for (const struct cs_series *s = atomic_load(&metric->first); s; s = atomic_load(&s->next)) {
            if (!atomic_load(&s->hidden))
                render_series(out, s);
        }
        pthread_mutex_lock(&m->lock); // metrics may be added meanwhile
        metric = metric->next;
        pthread_mutex_unlock(&m->lock);
    }
}
