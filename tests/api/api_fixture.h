// SPDX-License-Identifier: Apache-2.0
//
// The API over a private redis-server: a deployment in memory (fixture.h) whose catalogs are written to Redis
// as a commit would, the API in its loop's own thread, and clients of it. Whatever should not fail asserts.
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <hiredis/hiredis.h>
#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "api/api.h"
#include "api/published.h"
#include "catalog/packed.h"
#include "catalog/witness.h"
#include "fixture.h"
#include "redis_server.h"

#define AF_PARTITIONS 4
#define AF_NAMESPACE  "test"
#define AF_THREADS    2    // of the API; connections go to them in turn
#define AF_SLOW_MS    1200 // longer than it takes until the API looks again

// Wall clock: FX_NOW_MS plus what a test adds; monotonic: the real one.
struct af_clock {
    struct cs_clock clock;
    _Atomic int64_t wall_ms;
};

// What was published: as much as was committed, until a test says otherwise.
struct af_published {
    struct cs_published base;
    _Atomic int64_t last[AF_PARTITIONS];
    _Atomic int asked[AF_PARTITIONS];
    _Atomic bool away;                 // Kafka does not answer
    _Atomic int late;                  // of this partition the answer is made, but does not arrive; -1: none
    _Atomic int first_slow;            // so many partitions answer nothing, and take AF_SLOW_MS for it
    const char *past_event, *past_doc; // what the log has; changed while nobody asks
    _Atomic int past_asked, past_now;
    _Atomic bool past_twice; // two threads asked for the past at once
    _Atomic int64_t past_since_ms;
};

struct af {
    struct fx *fx;
    char dir[64];
    struct redis_server server;
    redisContext *ctx; // the test's own connection
    bool queueing;     // replies are taken later, all at once
    size_t under_way;
    struct cs_authentic *authentic;
    struct cs_packer *packer;
    struct af_clock clock;
    struct cs_consumer_settings settings;
    struct cs_consumer consumer;
    struct af_published published;
    struct cs_api *api;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool start_held; // af_start does not wait until it answers
    bool started, task_done;
    void (*task)(struct af *f);
    int port;
};

struct af *af_new(void); // redis-server and an empty deployment
void af_free(struct af *f);
void af_redis_start(struct af *f); // over the same socket
void af_redis_kill(struct af *f);

// The catalogs as they are now, each partition in one MULTI that ends with PUBLISH, as the worker's.
void af_commit(struct af *f);
void af_commit_partition(struct af *f, int32_t partition);
// One document, or one member, as the worker writes it.
void af_set(struct af *f, int32_t partition, const char *key, struct cs_bytes value);
void af_add(struct af *f, int32_t partition, const char *key, const char *member, int64_t score);
// Takes one away, if it is there.
bool af_remove(struct af *f, int32_t partition, const char *key, const char *member);

void af_start(struct af *f); // the API with f->settings; waits until it has Redis
void af_stop(struct af *f);
void af_in_loop(struct af *f, void (*task)(struct af *f)); // runs task in the loop's thread and waits

// A token of this key: whole header and claims, or with what a test changes.
struct af_token {
    const struct fx_key *key;
    const char *sub;
    const char *kid, *iss, *aud, *alg; // NULL: as they should be
    int64_t iat_s, life_s;             // from now; life 0: 120
};
const char *af_token(struct af *f, const struct fx_key *key, const char *sub);
const char *af_token_of(struct af *f, struct af_token how);

struct af_answer {
    int status;
    char *text;
    size_t len;
    json_t *json; // NULL where it is none
    char type[64];
    int retry_after_s; // -1: none
    double seconds;
};
void af_answer_clear(struct af_answer *a);
CS_DEFINE_AUTO_CLEAR(struct af_answer, af_answer_clear)
// GET of a path (formatted); token NULL: none.
struct af_answer af_get(struct af *f, const char *token, const char *fmt, ...) CS_PRINTF(3, 4);
const char *af_text(const json_t *o, const char *member); // "" where absent
int64_t af_int(const json_t *o, const char *member);      // INT64_MIN where absent
// Asserts a problem with this status and code ("" for none).
void af_assert_problem_(const struct af_answer *a, int status, const char *code, const char *file, int line);
#define assert_problem(a, status, code) af_assert_problem_(&(a), (status), (code), __FILE__, __LINE__)
void af_assert_status_(const struct af_answer *a, int status, const char *file, int line);
#define assert_status(a, status) af_assert_status_(&(a), (status), __FILE__, __LINE__)

// A request that is sent and answered later, over a connection of its own.
int af_send(struct af *f, const char *token, const char *path);
int af_connect(struct af *f);
// The status line's number; -1 where nothing came in time. Closes nothing.
int af_receive(int fd, int timeout_ms, char *body, size_t body_size);
int64_t af_now_ms(void);
// Waits until a metric (whole series name) has at least, or at most, this value.
double af_metric(struct af *f, const char *series);
void af_wait_metric(struct af *f, const char *series, double lowest, double highest);
