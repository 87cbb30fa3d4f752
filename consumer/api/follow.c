// SPDX-License-Identifier: Apache-2.0
#include "api/follow.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

#include "api/internal.h"
#include "catalog/catalog.h"
#include "catalog/changes.h"
#include "certsync/runtime/log.h"
#include "certsync/runtime/thread.h"

#define QUEUE_MAX  256
#define LOOK_MS    500 // without questions
#define RETRY_MS   2000
#define CHUNK      500 // documents that are read at once; between, questions are answered
#define KEYS_MAX   ((size_t)256 << 20)
#define LOADS_MOST 1000 // of one chunk: each brings something

struct api_search_job {
    struct api_search_job *next;
    struct api_follow *follow;
    struct cs_api *api;    // whose loop waits
    struct api_call *call; // NULL: the client has left
    api_found_step step;
    struct api_question q;
    struct api_question_answer answer;
    struct api_hit hits[];
};

struct follow {
    bool ready;
    int64_t generation;
    int64_t at; // outcomes; the index has all of these
    int64_t not_before_ms;
    char told[CS_ERR_MSG_MAX]; // why it cannot be read, as it was logged
};

struct api_follow {
    struct cs_api *api; // of the first loop
    pthread_t thread;
    bool started;
    struct api_index *index;
    struct cs_catalog *catalog;
    struct cs_changes *changes;
    struct cs_series *certificates, *bytes;
    struct cs_buf changed; // keys, of a partition that is followed
    struct cs_buf keys;    // of an account that is read
    bool building;
    pthread_mutex_t lock; // what follows
    pthread_cond_t cond;
    bool stopping;
    size_t waiting;
    struct api_search_job *first, **end;
    struct api_search_job *done; // answered, and not yet taken by their loops
    int32_t count;
    struct follow list[];
};

static int64_t now_ms(const struct api_follow *f) {
    return cs_clock_mono_ms(f->api->consumer->clock);
}

static bool is_stopping(struct api_follow *f) {
    pthread_mutex_lock(&f->lock);
    bool stopping = f->stopping;
    pthread_mutex_unlock(&f->lock);
    return stopping;
}

// ---- reading a catalog

static int64_t generation_now(struct api_follow *f, int32_t p) {
    return f->catalog->ops->generation(f->catalog, p);
}

static bool load(struct api_follow *f, int32_t p, struct cs_state *state, struct cs_position *ret,
                 struct cs_err *err) {
    if (cs_catalog_load(f->catalog, p, state, ret, err))
        return true;
    if (err->kind == CS_ERR_DAMAGED)
        api_found_damage(f->api, p, generation_now(f, p), err);
    return false;
}

// All members of an index, which live as long as *ret_state.
static bool read_index(struct api_follow *f, int32_t p, const char *key, struct cs_state **ret_state,
                       const struct cs_member **ret, size_t *ret_n, struct cs_err *err) {
    struct cs_position ignored;
    CS_AUTO(cs_state_free) struct cs_state *state = NULL;
    *ret_n = 0;
    if (!cs_state_new(false, &state, err))
        return false;
    if (cs_state_list(state, key, ret, ret_n) == CS_NEEDED && !load(f, p, state, &ignored, err))
        return false;
    (void)cs_state_list(state, key, ret, ret_n);
    *ret_state = CS_TAKE(state);
    return true;
}

// "cert/<account>/<id>" or "shared-in/<account>/<owner>/<id>".
struct place {
    cs_account_id account, owner;
    cs_uuid id;
};

static bool read_place(const char *key, struct place *ret) {
    bool shared = cs_key_is(key, CS_KIND_SHARED_IN);
    const char *account = strchr(key, '/'), *last = strrchr(key, '/');
    const char *owner = account && shared ? strchr(account + 1, '/') : last;
    *ret = (struct place){.account = ""};
    if (!account || !owner || owner == account || (shared && owner == last) ||
        !cs_uuid_valid(last + 1, strlen(last + 1)) ||
        !cs_account_valid(account + 1, (size_t)(owner - account - 1)))
        return false;
    memcpy(ret->account, account + 1, (size_t)(owner - account - 1));
    memcpy(ret->id, last + 1, CS_UUID_LEN + 1);
    if (shared && !cs_account_valid(owner + 1, (size_t)(last - owner - 1)))
        return false;
    if (shared)
        memcpy(ret->owner, owner + 1, (size_t)(last - owner - 1));
    return true;
}

static bool put_document(struct api_follow *f, int32_t p, const struct place *at, struct cs_bytes doc,
                         struct cs_err *err) {
    if (doc.data && at->owner[0]) {
        CS_AUTO(cs_shared_in_clear) struct cs_shared_in in = {0};
        return cs_shared_in_decode(doc, &in, err) &&
               api_index_put(f->index, p, at->account, at->owner, at->id, &in.summary, err);
    }
    CS_AUTO(cs_certificate_clear) struct cs_certificate cert = {0};
    if (doc.data && !cs_certificate_decode(doc, &cert, err))
        return false;
    if (doc.data && !cert.deleted)
        return api_index_put(f->index, p, at->account, at->owner, at->id, &cert.summary, err);
    return api_index_remove(f->index, at->account, at->owner, at->id, err);
}

// Notes what is not loaded yet; true: nothing is.
static bool all_loaded(struct cs_state *state, const char *keys, size_t n) {
    const struct cs_needed *ignored;
    struct cs_bytes doc;
    cs_state_needed_clear(state);
    for (size_t i = 0; i < n; i++, keys += strlen(keys) + 1)
        (void)cs_state_get(state, keys, &doc);
    return cs_state_needed(state, &ignored) == 0;
}

// Reads n documents, and puts what they say into the index.
static bool take_chunk(struct api_follow *f, int32_t p, const char *keys, size_t n, struct cs_err *err) {
    CS_AUTO(cs_state_free) struct cs_state *state = NULL;
    struct cs_position ignored;
    if (!cs_state_new(false, &state, err))
        return false;
    for (int i = 0; !all_loaded(state, keys, n); i++)
        if (!load(f, p, state, &ignored, err))
            return false;
        else if (i > LOADS_MOST)
            return cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE, "the documents of partition %d do not come",
                              (int)p);
    bool ok = api_index_begin(f->index, err);
    for (; ok && n > 0; n--, keys += strlen(keys) + 1) {
        struct place at;
        struct cs_bytes doc = {0};
        (void)cs_state_get(state, keys, &doc);
        if (read_place(keys, &at))
            ok = put_document(f, p, &at, doc, err);
    }
    struct cs_err ignored_too;
    bool ended = api_index_end(f->index, ok ? err : &ignored_too);
    return ok && ended;
}

static void serve_waiting(struct api_follow *f);

// All keys, in chunks. While a partition is read from its beginning, questions are answered between them.
static bool take_keys(struct api_follow *f, int32_t p, const struct cs_buf *keys, bool serve,
                      struct cs_err *err) {
    const char *at = (const char *)keys->data, *end = at + keys->len;
    while (at < end) {
        const char *from = at;
        size_t n = 0;
        for (; at < end && n < CHUNK; n++)
            at += strlen(at) + 1;
        if (!take_chunk(f, p, from, n, err))
            return false;
        if (serve)
            serve_waiting(f);
        if (is_stopping(f))
            return cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE, "the process stops");
    }
    return true;
}

// ---- a partition from its beginning

static void put_view_key(struct api_follow *f, const char *account, const char *member) {
    cs_key key;
    const char *slash = strchr(member, '/');
    if (!slash || (slash[1] != 'c' && slash[1] != 's') || slash[2] != '/')
        return;
    if (slash[1] == 'c')
        cs_key_cert(key, account, slash + 3);
    else
        cs_key_make(key, CS_KIND_SHARED_IN, account, slash + 3, NULL); // "<owner>/<id>"
    cs_buf_put(&f->keys, key, strlen(key) + 1);
}

static bool build_account(struct api_follow *f, int32_t p, const char *account, struct cs_err *err) {
    CS_AUTO(cs_state_free) struct cs_state *state = NULL;
    const struct cs_member *members = NULL;
    size_t n = 0;
    if (!read_index(f, p, cs_key_view(CS_NEW_KEY, account), &state, &members, &n, err))
        return false;
    cs_buf_reset(&f->keys);
    for (size_t i = 0; i < n; i++)
        put_view_key(f, account, members[i].name);
    return cs_buf_ok(&f->keys, err) && take_keys(f, p, &f->keys, true, err);
}

static bool build_accounts(struct api_follow *f, int32_t p, struct cs_err *err) {
    CS_AUTO(cs_state_free) struct cs_state *state = NULL;
    const struct cs_member *accounts = NULL;
    size_t n = 0;
    if (!api_index_drop(f->index, p, err) ||
        !read_index(f, p, cs_key_accounts(CS_NEW_KEY), &state, &accounts, &n, err))
        return false;
    for (size_t i = 0; i < n; i++)
        if (!build_account(f, p, accounts[i].name, err))
            return false;
    return true;
}

// What commits change meanwhile is in their list, and is taken after it. If that has become too short, once
// more.
static bool build(struct api_follow *f, int32_t p, const struct cs_position *at, int64_t generation,
                  struct cs_err *err) {
    struct follow *to = &f->list[p];
    int64_t began_ms = now_ms(f), before = api_index_size(f->index);
    to->ready = false;
    f->building = true;
    bool ok = build_accounts(f, p, err);
    f->building = false;
    if (!ok)
        return false;
    if (generation_now(f, p) != generation)
        return cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE,
                          "another generation of partition %d became the live one", (int)p);
    to->ready = true;
    to->generation = generation;
    to->at = at->outcomes;
    cs_log(CS_LOG_INFO, "the index of certificates has a partition", "partition=%d certificates=%lld ms=%lld",
           (int)p, (long long)(api_index_size(f->index) - before), (long long)(now_ms(f) - began_ms));
    return true;
}

// ---- following

// Brings the partition to where its catalog stands. *ret: where that is.
static bool catch_up(struct api_follow *f, int32_t p, struct cs_position *ret, struct cs_err *err) {
    struct follow *to = &f->list[p];
    CS_AUTO(cs_state_free) struct cs_state *none = NULL;
    if (!cs_state_new(false, &none, err))
        return false;
    for (int tries = 0; tries < 3; tries++) {
        if (!load(f, p, none, ret, err))
            return false;
        int64_t generation = generation_now(f, p);
        bool same = to->ready && generation == to->generation;
        if (same && ret->outcomes <= to->at)
            return true;
        int64_t reached = to->at;
        cs_buf_reset(&f->changed);
        if (same && !cs_changes_since(f->changes, p, generation, &reached, &f->changed, err))
            return false;
        if (same && reached >= ret->outcomes) {
            if (!take_keys(f, p, &f->changed, false, err))
                return false;
            to->at = reached;
            return true;
        }
        if (f->building) // another one is: this one comes after it
            return cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE, "partition %d waits for another one", (int)p);
        if (!build(f, p, ret, generation, err))
            return false;
    }
    return cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE, "partition %d changes faster than it is read", (int)p);
}

static bool tend(struct api_follow *f, int32_t p, struct cs_position *ret) {
    struct follow *to = &f->list[p];
    struct cs_err err;
    if (now_ms(f) < to->not_before_ms)
        return false;
    if (catch_up(f, p, ret, &err)) {
        to->told[0] = '\0';
        return true;
    }
    if (f->building)
        return false;
    to->not_before_ms = now_ms(f) + (to->ready ? 0 : RETRY_MS);
    if (strcmp(to->told, err.msg) != 0 && !is_stopping(f))
        cs_log_err(CS_LOG_WARN, "the index of certificates cannot follow a partition", &err, "partition=%d",
                   (int)p);
    memcpy(to->told, err.msg, sizeof to->told);
    return false;
}

// ---- questions

static bool is_reached(struct api_follow *f, int32_t p, struct api_question_answer *a) {
    struct cs_position at;
    if (!tend(f, p, &at)) {
        snprintf(a->why, sizeof a->why,
                 "The index of certificates does not have partition %d yet; ask again.", (int)p);
        return false;
    }
    if (!api_has_caught_up(f->api, p, at.outcomes)) {
        snprintf(a->why, sizeof a->why,
                 "The catalog of partition %d has not caught up with what was decided; ask again.", (int)p);
        return false;
    }
    return true;
}

static void serve(struct api_follow *f, struct api_search_job *job) {
    const struct api_question *q = &job->q;
    struct api_question_answer *a = &job->answer;
    struct cs_err err;
    int32_t only = q->account[0] ? cs_partition_of(q->account, f->count) : -1;
    for (int32_t p = 0; p < f->count; p++)
        if ((only < 0 || p == only) && !is_reached(f, p, a))
            return;
    const struct api_index_query query = {.filter = &q->filter,
                                          .account = q->account,
                                          .by_expiry = q->by_expiry,
                                          .now_s = q->now_s,
                                          .after = q->has_after ? &q->after : NULL,
                                          .limit = q->limit,
                                          .count = q->count};
    a->ok = api_index_ask(f->index, &query, &a->found, &err);
    if (a->ok)
        return;
    cs_log_err(CS_LOG_ERROR, "a question to the index of certificates failed", &err, "account=%s",
               q->account);
    snprintf(a->why, sizeof a->why, "The index of certificates cannot be read; the server's log says why.");
}

static void unlink_done(struct api_search_job *job) {
    struct api_follow *f = job->follow;
    pthread_mutex_lock(&f->lock);
    for (struct api_search_job **at = &f->done; *at; at = &(*at)->next)
        if (*at == job) {
            *at = job->next;
            break;
        }
    f->waiting--;
    pthread_mutex_unlock(&f->lock);
}

// In the loop that asked.
static void deliver(void *arg) {
    struct api_search_job *job = arg;
    struct api_call *call = job->call;
    unlink_done(job);
    if (call) {
        call->search = NULL;
        if (call->req)
            job->step(call, &job->answer);
        api_call_settle(call);
    }
    free(job);
}

static struct api_search_job *pop(struct api_follow *f) {
    struct api_search_job *job = f->first;
    if (!job)
        return NULL;
    f->first = job->next;
    if (!f->first)
        f->end = &f->first;
    return job;
}

static void finish(struct api_follow *f, struct api_search_job *job) {
    pthread_mutex_lock(&f->lock);
    job->next = f->done;
    f->done = job;
    pthread_mutex_unlock(&f->lock);
    while (!cs_loop_post(job->api->loop, deliver, job))
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL); // out of memory
}

static void serve_waiting(struct api_follow *f) {
    for (;;) {
        pthread_mutex_lock(&f->lock);
        struct api_search_job *job = f->stopping ? NULL : pop(f);
        pthread_mutex_unlock(&f->lock);
        if (!job)
            return;
        serve(f, job);
        finish(f, job);
    }
}

void api_follow_ask(struct api_call *call, const struct api_question *q, api_found_step step) {
    struct api_follow *f = call->api->first->follow;
    struct api_search_job *job = calloc(1, sizeof *job + q->limit * sizeof job->hits[0]);
    if (!job) {
        api_problem(call, 500, NULL, "%s", "The server is out of memory.");
        return;
    }
    *job = (struct api_search_job){.follow = f, .api = call->api, .call = call, .step = step, .q = *q};
    job->answer.found.hits = job->hits;
    pthread_mutex_lock(&f->lock);
    bool room = f->waiting < QUEUE_MAX && !f->stopping;
    if (room) {
        *f->end = job;
        f->end = &job->next;
        f->waiting++;
        call->search = job;
        pthread_cond_signal(&f->cond);
    }
    pthread_mutex_unlock(&f->lock);
    if (room)
        return;
    free(job);
    api_busy(call, "Too many searches wait; ask again.");
}

// The job's call is of this loop alone, so no lock is needed.
void api_follow_leave(struct api_call *call) {
    struct api_search_job *job = CS_TAKE(call->search);
    job->call = NULL;
}

// ---- the thread

static void wait_for_question(struct api_follow *f) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += LOOK_MS * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    pthread_mutex_lock(&f->lock);
    if (!f->first && !f->stopping)
        (void)pthread_cond_timedwait(&f->cond, &f->lock, &until);
    pthread_mutex_unlock(&f->lock);
}

static void *thread_main(void *arg) {
    struct api_follow *f = arg;
    prctl(PR_SET_NAME, "api-index");
    for (int64_t look_ms = 0; !is_stopping(f);) {
        struct cs_position ignored;
        if (now_ms(f) >= look_ms) {
            for (int32_t p = 0; p < f->count && !is_stopping(f); p++) {
                (void)tend(f, p, &ignored);
                serve_waiting(f);
            }
            look_ms = now_ms(f) + LOOK_MS;
            cs_series_set(f->certificates, (double)api_index_size(f->index));
            cs_series_set(f->bytes, (double)api_index_bytes(f->index));
        }
        serve_waiting(f);
        wait_for_question(f);
    }
    return NULL;
}

static void make_metrics(struct api_follow *f, struct cs_metrics *m) {
    f->certificates = cs_metric_0(
        cs_metrics_gauge(m, "certsync_search_certificates",
                         "Certificates in the index that searches ask, as accounts see them.", NULL));
    f->bytes = cs_metric_0(
        cs_metrics_gauge(m, "certsync_search_bytes", "Memory of the index that searches ask.", NULL));
}

bool api_follow_new(struct cs_api *first, struct api_follow **ret, struct cs_err *err) {
    const struct cs_consumer *c = first->consumer;
    struct api_follow *f = calloc(1, sizeof *f + (size_t)c->partition_count * sizeof f->list[0]);
    pthread_condattr_t monotonic;
    if (!f)
        return cs_err_oom(err);
    f->api = first;
    f->count = c->partition_count;
    f->end = &f->first;
    cs_buf_init(&f->keys, KEYS_MAX);
    cs_buf_init(&f->changed, KEYS_MAX);
    pthread_mutex_init(&f->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&f->cond, &monotonic);
    pthread_condattr_destroy(&monotonic);
    make_metrics(f, c->metrics);
    const char *name_space = c->settings->redis_namespace;
    bool ok = api_index_new(&f->index, err) &&
              cs_catalog_redis_new(&c->redis, name_space, c->service, c->log_id, &f->catalog, err) &&
              cs_changes_new(&c->redis, name_space, c->service, c->log_id, &f->changes, err);
    f->started = ok && cs_thread_new(&f->thread, thread_main, f, err);
    if (!f->started) {
        api_follow_free(f);
        return false;
    }
    *ret = f;
    return true;
}

void api_follow_stop(struct api_follow *f) {
    if (!f || !f->started)
        return;
    pthread_mutex_lock(&f->lock);
    f->stopping = true;
    pthread_cond_signal(&f->cond);
    pthread_mutex_unlock(&f->lock);
    pthread_join(f->thread, NULL);
    f->started = false;
}

void api_follow_free(struct api_follow *f) {
    if (!f)
        return;
    for (struct api_search_job *job; (job = pop(f));)
        free(job);
    for (struct api_search_job *job = f->done, *next; job; job = next) {
        next = job->next;
        free(job);
    }
    api_index_free(f->index);
    cs_catalog_free(f->catalog);
    cs_changes_free(f->changes);
    cs_buf_clear(&f->keys);
    cs_buf_clear(&f->changed);
    pthread_cond_destroy(&f->cond);
    pthread_mutex_destroy(&f->lock);
    free(f);
}
