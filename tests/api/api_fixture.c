// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE // strcasestr
#include "api_fixture.h"
#include "certsync/runtime/tls_expiry.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <errno.h>
#include <netinet/in.h>
#include <openssl/hmac.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "certsync/runtime/http.h"
#include "certsync/runtime/log.h"
#include "jwt_make.h"

#define DEADLINE_MS 60000

int64_t af_now_ms(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void nap(void) {
    nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
}

// ---- redis-server

static bool connect_redis(struct af *f) {
    f->ctx = redisConnectUnix(f->server.socket);
    if (!f->ctx || f->ctx->err)
        goto fail;
    redisReply *r = redisCommand(f->ctx, "PING");
    bool ok = r && r->type == REDIS_REPLY_STATUS;
    freeReplyObject(r);
    if (ok)
        return true;
fail:
    if (f->ctx)
        redisFree(f->ctx);
    f->ctx = NULL;
    return false;
}

void af_redis_start(struct af *f) {
    assert_true(redis_server_again(&f->server, NULL));
    assert_true(connect_redis(f));
}

void af_redis_kill(struct af *f) {
    if (f->ctx)
        redisFree(f->ctx);
    f->ctx = NULL;
    redis_server_kill(&f->server);
}

static void take_replies(struct af *f) {
    for (; f->under_way > 0; f->under_way--) {
        redisReply *r = NULL;
        assert_int_equal(redisGetReply(f->ctx, (void **)&r), REDIS_OK);
        assert_int_not_equal(r->type, REDIS_REPLY_ERROR);
        freeReplyObject(r);
    }
}

static void do_command(struct af *f, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    assert_int_equal(redisvAppendCommand(f->ctx, fmt, ap), REDIS_OK);
    va_end(ap);
    f->under_way++;
    if (!f->queueing)
        take_replies(f);
}

struct writer {
    struct af *f;
    int32_t partition;
};

// As the catalog does it: a value and its witness.
static void witness(struct af *f, int32_t partition, const char *command, const char *key, const void *value,
                    size_t len) {
    struct cs_place place;
    char bucket[CS_WITNESS_KEY_SIZE];
    struct cs_err err;
    assert_true(cs_authentic_place(f->authentic, partition, key, &place, &err));
    cs_witness_key(bucket, place.bucket);
    do_command(f, "%s %s:{%d}:%s %b %b", command, AF_NAMESPACE, (int)partition, bucket, place.name,
               sizeof place.name, value, len);
}

// As a commit writes it: documents packed, the position not.
void af_set(struct af *f, int32_t partition, const char *key, struct cs_bytes value) {
    CS_AUTO(cs_buf_clear) struct cs_buf b;
    struct cs_mark mark;
    struct cs_err err;
    cs_buf_init(&b, 1 << 20);
    if (strcmp(key, "pos") != 0)
        assert_true(cs_pack(f->packer, key, value, true, &value, &err));
    assert_true(cs_authentic_mark(f->authentic, partition, key, value, &mark, &err));
    cs_buf_put(&b, value.data, value.len);
    cs_buf_put(&b, mark.mark, sizeof mark.mark);
    do_command(f, "SET %s:{%d}:%s %b", AF_NAMESPACE, (int)partition, key, b.data, b.len);
    witness(f, partition, "HSET", key, mark.witness, sizeof mark.witness);
}

static const char *member_of(struct af *f, int32_t partition, const char *key, const char *member,
                             uint64_t *ret_secret) {
    char mark[CS_MEMBER_MARK_SIZE];
    struct cs_err err;
    assert_true(cs_authentic_member_mark(f->authentic, partition, key, member, mark, ret_secret, &err));
    return fx_text(f->fx, "%s%s", member, mark);
}

void af_add(struct af *f, int32_t partition, const char *key, const char *member, int64_t score) {
    uint64_t secret = 0;
    const char *marked = member_of(f, partition, key, member, &secret);
    const char *share = fx_text(f->fx, "%lld", (long long)cs_witness_share(secret, score));
    do_command(f, "ZADD %s:{%d}:%s %lld %s", AF_NAMESPACE, (int)partition, key, (long long)score, marked);
    witness(f, partition, "HINCRBY", key, share, strlen(share));
}

bool af_remove(struct af *f, int32_t partition, const char *key, const char *member) {
    uint64_t secret = 0;
    const char *marked = member_of(f, partition, key, member, &secret);
    redisReply *r = redisCommand(f->ctx, "ZSCORE %s:{%d}:%s %s", AF_NAMESPACE, (int)partition, key, marked);
    bool there = r->type == REDIS_REPLY_STRING;
    int64_t score = there ? strtoll(r->str, NULL, 10) : 0;
    freeReplyObject(r);
    if (!there)
        return false;
    const char *share = fx_text(f->fx, "%lld", -(long long)cs_witness_share(secret, score));
    do_command(f, "ZREM %s:{%d}:%s %s", AF_NAMESPACE, (int)partition, key, marked);
    witness(f, partition, "HINCRBY", key, share, strlen(share));
    return true;
}

static void put_sentinels(struct af *f, int32_t partition) {
    for (unsigned b = 0; b < CS_WITNESS_BUCKETS; b++) {
        char bucket[CS_WITNESS_KEY_SIZE];
        cs_witness_key(bucket, b);
        do_command(f, "HSET %s:{%d}:%s %b %s", AF_NAMESPACE, (int)partition, bucket, CS_WITNESS_SENTINEL,
                   (size_t)0, CS_WITNESS_IS);
    }
}

static bool write_doc(void *arg, const char *key, struct cs_bytes value) {
    struct writer *w = arg;
    af_set(w->f, w->partition, key, value);
    return true;
}

static bool write_index(void *arg, const char *key, const struct cs_member *members, size_t n) {
    struct writer *w = arg;
    for (size_t i = 0; i < n; i++)
        af_add(w->f, w->partition, key, members[i].name, members[i].score);
    return true;
}

void af_commit_partition(struct af *f, int32_t partition) {
    struct writer w = {f, partition};
    redisReply *keys = redisCommand(f->ctx, "KEYS %s:{%d}:*", AF_NAMESPACE, (int)partition);
    assert_non_null(keys);
    f->queueing = true; // hundreds of round trips would take longer than what is tested
    do_command(f, "MULTI");
    for (size_t i = 0; i < keys->elements; i++)
        do_command(f, "DEL %s", keys->element[i]->str);
    freeReplyObject(keys);
    put_sentinels(f, partition);
    assert_true(cs_state_each(f->fx->partition[partition].state, write_doc, write_index, &w));
    CS_AUTO(cs_buf_clear) struct cs_buf position;
    cs_buf_init(&position, 1024);
    cs_position_encode(&position, &(struct cs_position){.outcomes = f->fx->partition[partition].outcomes});
    af_set(f, partition, "pos", cs_buf_bytes(&position));
    atomic_store(&f->published.last[partition], f->fx->partition[partition].outcomes);
    do_command(f, "PUBLISH %s:{%d}:moved %lld", AF_NAMESPACE, (int)partition,
               (long long)f->fx->partition[partition].outcomes);
    do_command(f, "EXEC");
    f->queueing = false;
    take_replies(f);
}

void af_commit(struct af *f) {
    for (int32_t p = 0; p < AF_PARTITIONS; p++)
        af_commit_partition(f, p);
}

// ---- the deployment

static int64_t clock_wall(const struct cs_clock *clock) {
    return atomic_load(&((const struct af_clock *)clock)->wall_ms);
}
static int64_t clock_mono(const struct cs_clock *clock) {
    (void)clock;
    return af_now_ms();
}

static bool published_last(struct cs_published *p, int32_t partition, const struct cs_position *at,
                           int64_t *ret_last, bool *ret_exact, struct cs_err *err) {
    struct af_published *published = (struct af_published *)(void *)p;
    (void)at;
    *ret_last = atomic_load(&published->last[partition]);
    *ret_exact = true;
    atomic_fetch_add(&published->asked[partition], 1);
    while (partition == atomic_load(&published->late))
        nap();
    if (partition < atomic_load(&published->first_slow)) {
        nanosleep(&(struct timespec){.tv_sec = AF_SLOW_MS / 1000, .tv_nsec = AF_SLOW_MS % 1000 * 1000000L},
                  NULL);
        return cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE, "the partition has no leader");
    }
    return !atomic_load(&published->away) || cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE, "no broker answers");
}

static bool published_past(struct cs_published *p, const struct cs_past_question *q, struct cs_buf *docs,
                           bool *ret_all, struct cs_err *err) {
    struct af_published *published = (struct af_published *)(void *)p;
    atomic_fetch_add(&published->past_asked, 1);
    if (atomic_fetch_add(&published->past_now, 1) > 0)
        atomic_store(&published->past_twice, true);
    nap();
    atomic_store(&published->past_since_ms, q->since_ms);
    for (size_t i = 0; i < q->n; i++)
        if (published->past_event && strcmp(q->events[i], published->past_event) == 0)
            cs_buf_puts(&docs[i], published->past_doc);
    atomic_fetch_sub(&published->past_now, 1);
    *ret_all = true;
    return !atomic_load(&published->away) || cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE, "no broker answers");
}

static void published_stop(struct cs_published *p) {
    atomic_store(&((struct af_published *)(void *)p)->late, -1);
}

struct af *af_new(void) {
    struct af *f = calloc(1, sizeof *f);
    assert_non_null(f);
    curl_global_init(CURL_GLOBAL_ALL);
    cs_log_set_level(CS_LOG_ERROR);
    snprintf(f->dir, sizeof f->dir, "/tmp/cs-api-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->cond, NULL);
    atomic_store(&f->published.late, -1);
    f->clock.clock = (struct cs_clock){clock_wall, clock_mono};
    atomic_store(&f->clock.wall_ms, FX_NOW_MS);
    f->fx = fx_new(AF_PARTITIONS);
    fx_begin(f->fx);
    struct cs_err err;
    assert_true(cs_authentic_new(f->fx->service->priv, FX_LOG, &f->authentic, &err));
    assert_true(cs_packer_new(&f->packer, &err));
    f->settings = (struct cs_consumer_settings){
        .deployment = (char *)(uintptr_t)FX_DEPLOYMENT,
        .redis_username = (char *)(uintptr_t) "",
        .redis_password = (char *)(uintptr_t) "",
        .redis_ca = (char *)(uintptr_t) "",
        .redis_namespace = (char *)(uintptr_t)AF_NAMESPACE,
        .redis_timeout_ms = 2000,
        .api_listen = (char *)(uintptr_t) "127.0.0.1:0",
        .api_tls_certificate = (char *)(uintptr_t) "",
        .api_tls_key = (char *)(uintptr_t) "",
        .api_threads = AF_THREADS,
        .api_max_connections = 256,
        .api_max_wait_s = 60,
        .api_quiet_after_ms = 900000,
        .api_search = true,
    };
    assert_true(redis_server_start(&f->server, NULL) && connect_redis(f));
    return f;
}

void af_free(struct af *f) {
    af_redis_kill(f);
    cs_authentic_free(f->authentic);
    cs_packer_free(f->packer);
    fx_free(f->fx);
    redis_server_stop(&f->server);
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", f->dir);
    assert_int_equal(system(command), 0);
    pthread_mutex_destroy(&f->lock);
    pthread_cond_destroy(&f->cond);
    free(f);
}

// ---- the API in its thread

static void signal_done(struct af *f, bool *what) {
    pthread_mutex_lock(&f->lock);
    *what = true;
    pthread_cond_broadcast(&f->cond);
    pthread_mutex_unlock(&f->lock);
}

static void wait_done(struct af *f, const bool *what) {
    pthread_mutex_lock(&f->lock);
    while (!*what)
        pthread_cond_wait(&f->cond, &f->lock);
    pthread_mutex_unlock(&f->lock);
}

static void *run(void *arg) {
    struct af *f = arg;
    struct cs_err err;
    struct cs_loop_hooks hooks = {0};
    assert_true(cs_loop_new(&hooks, &f->consumer.loop, &err));
    if (!cs_api_new(&f->consumer, &f->api, &err))
        fprintf(stderr, "cs_api_new: %s\n", err.msg);
    f->port = f->api ? cs_api_port(f->api) : -1;
    signal_done(f, &f->started);
    if (f->api)
        cs_loop_run(f->consumer.loop);
    cs_api_free(f->api);
    cs_loop_free(f->consumer.loop);
    return NULL;
}

void af_start(struct af *f) {
    struct cs_err err;
    static const struct cs_published_ops published_ops = {
        .last = published_last, .past = published_past, .stop = published_stop};
    f->published.base.ops = &published_ops;
    f->consumer = (struct cs_consumer){.published = &f->published.base,
                                       .past = &f->published.base,
                                       .settings = &f->settings,
                                       .service = f->fx->service->priv,
                                       .partition_count = AF_PARTITIONS,
                                       .log_id = FX_LOG,
                                       .clock = &f->clock.clock};
    f->consumer.redis = (struct cs_redis_access){
        .seeds_len = 1, .timeout_ms = f->settings.redis_timeout_ms, .ca_file = f->server.ca_file};
    assert_true(cs_redis_target_parse(f->server.url, &f->consumer.redis.seeds[0], &err));
    assert_true(cs_board_new(AF_PARTITIONS, &f->consumer.board, &err));
    f->consumer.metrics = cs_metrics_new();
    f->consumer.tls_expiry = cs_tls_expiry_metric(f->consumer.metrics);
    f->started = false;
    assert_int_equal(pthread_create(&f->thread, NULL, run, f), 0);
    wait_done(f, &f->started);
    assert_non_null(f->api);
    if (f->server.pid > 0)
        af_wait_metric(f, "certsync_api_redis_up", 1, 1);
    if (f->server.pid > 0 && !f->start_held)
        af_wait_metric(f, "certsync_api_held_partitions", 0, 0);
}

void af_stop(struct af *f) {
    cs_loop_stop(f->consumer.loop);
    pthread_join(f->thread, NULL);
    cs_board_free(f->consumer.board);
    cs_metrics_free(f->consumer.metrics);
    f->api = NULL;
}

static void run_task(void *arg) {
    struct af *f = arg;
    f->task(f);
    signal_done(f, &f->task_done);
}

void af_in_loop(struct af *f, void (*task)(struct af *f)) {
    f->task = task;
    f->task_done = false;
    assert_true(cs_loop_post(f->consumer.loop, run_task, f));
    wait_done(f, &f->task_done);
}

// The metrics are read where they are rendered for anybody, but without a request: connections may be full.
double af_metric(struct af *f, const char *series) {
    CS_AUTO(cs_buf_clear) struct cs_buf b;
    cs_buf_init(&b, 1 << 20);
    cs_metrics_render(f->consumer.metrics, &b);
    size_t len = strlen(series);
    for (const char *line = (const char *)b.data; line && *line;) {
        if (strncmp(line, series, len) == 0 && line[len] == ' ')
            return strtod(line + len, NULL);
        line = strchr(line, '\n');
        line = line ? line + 1 : NULL;
    }
    return 0;
}

void af_wait_metric(struct af *f, const char *series, double lowest, double highest) {
    int64_t end = af_now_ms() + DEADLINE_MS;
    for (;;) {
        double v = af_metric(f, series);
        if (v >= lowest && v <= highest)
            return;
        if (af_now_ms() >= end)
            fprintf(stderr, "%s stays at %g\n", series, v);
        assert_true(af_now_ms() < end);
        nap();
    }
}

// ---- tokens

// "none": no signature. "HS256": with the public key as its secret.
static char *sign_otherwise(struct af_token how, const char *header, const char *claims) {
    struct cs_err err;
    uint8_t mac[32];
    char *text = malloc(JWT_MAX), *pem = NULL;
    assert_non_null(text);
    size_t n = jwt_begin(text, header, claims);
    text[n] = '.';
    text[n + 1] = '\0';
    if (strcmp(how.alg, "none") == 0)
        return text;
    assert_true(cs_spki_to_pem(cs_pubkey_spki(how.key->pub), &pem, &err));
    assert_non_null(HMAC(EVP_sha256(), pem, (int)strlen(pem), (const uint8_t *)text, n, mac, NULL));
    cs_base64url_encode(mac, sizeof mac, text + n + 1);
    free(pem);
    return text;
}

const char *af_token_of(struct af *f, struct af_token how) {
    int64_t now_s = atomic_load(&f->clock.wall_ms) / 1000, iat = now_s + how.iat_s;
    const char *kid = how.kid ? how.kid : how.key->kid;
    const char *header =
        fx_text(f->fx, "{\"alg\":\"%s\",\"typ\":\"JWT\",\"kid\":\"%s\"}", how.alg ? how.alg : "ES256", kid);
    const char *claims = fx_text(
        f->fx, "{\"iss\":\"%s\",\"sub\":\"%s\",\"aud\":\"%s\",\"iat\":%" PRId64 ",\"exp\":%" PRId64 "}",
        how.iss ? how.iss : kid, how.sub, how.aud ? how.aud : FX_DEPLOYMENT, iat,
        iat + (how.life_s ? how.life_s : 120));
    char *text = how.alg ? sign_otherwise(how, header, claims)
                         : jwt_sign(f->fx->crypto, how.key->priv, header, claims);
    const char *kept = fx_text(f->fx, "%s", text);
    free(text);
    return kept;
}

const char *af_token(struct af *f, const struct fx_key *key, const char *sub) {
    return af_token_of(f, (struct af_token){.key = key, .sub = sub});
}

// ---- clients

static size_t on_body(char *data, size_t size, size_t n, void *arg) {
    struct af_answer *a = arg;
    char *grown = realloc(a->text, a->len + size * n + 1);
    if (!grown)
        return 0;
    a->text = grown;
    memcpy(a->text + a->len, data, size * n);
    a->len += size * n;
    a->text[a->len] = '\0';
    return size * n;
}

static size_t on_header(char *data, size_t size, size_t n, void *arg) {
    struct af_answer *a = arg;
    if (strncasecmp(data, "Retry-After: ", 13) == 0)
        a->retry_after_s = atoi(data + 13);
    return size * n;
}

void af_answer_clear(struct af_answer *a) {
    free(a->text);
    json_decref(a->json);
    *a = (struct af_answer){0};
}

struct af_answer af_get(struct af *f, const char *token, const char *fmt, ...) {
    struct af_answer a = {.retry_after_s = -1};
    char url[8192], auth[4096];
    int n = snprintf(url, sizeof url, "http://127.0.0.1:%d", f->port);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(url + n, sizeof url - (size_t)n, fmt, ap);
    va_end(ap);
    CURL *curl = curl_easy_init();
    assert_non_null(curl);
    struct curl_slist *headers = curl_slist_append(NULL, "X-Request-Id: test");
    if (token) {
        snprintf(auth, sizeof auth, "Authorization: Bearer %s", token);
        headers = curl_slist_append(headers, auth);
    }
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &a);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, &a);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, 100000L);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    CURLcode rc = curl_easy_perform(curl);
    if (rc != CURLE_OK)
        fprintf(stderr, "%s: %s\n", url, curl_easy_strerror(rc));
    assert_int_equal(rc, CURLE_OK);
    long status = 0;
    char *type = NULL;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(curl, CURLINFO_CONTENT_TYPE, &type);
    curl_easy_getinfo(curl, CURLINFO_TOTAL_TIME, &a.seconds);
    a.status = (int)status;
    snprintf(a.type, sizeof a.type, "%s", type ? type : "");
    a.json = json_loadb(a.text ? a.text : "", a.len, JSON_REJECT_DUPLICATES, NULL);
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    return a;
}

const char *af_text(const json_t *o, const char *member) {
    const char *s = json_string_value(json_object_get(o, member));
    return s ? s : "";
}

int64_t af_int(const json_t *o, const char *member) {
    const json_t *v = json_object_get(o, member);
    return json_is_integer(v) ? json_integer_value(v) : INT64_MIN;
}

void af_assert_status_(const struct af_answer *a, int status, const char *file, int line) {
    if (a->status != status)
        fprintf(stderr, "status %d: %s\n", a->status, a->text ? a->text : "");
    _assert_int_equal((unsigned long)a->status, (unsigned long)status, file, line);
}

void af_assert_problem_(const struct af_answer *a, int status, const char *code, const char *file, int line) {
    af_assert_status_(a, status, file, line);
    _assert_string_equal(a->type, "application/problem+json", file, line);
    _assert_string_equal(af_text(a->json, "code"), code, file, line);
    _assert_int_equal((unsigned long)af_int(a->json, "status"), (unsigned long)status, file, line);
}

int af_connect(struct af *f) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)f->port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

int af_send(struct af *f, const char *token, const char *path) {
    char request[6000];
    int fd = af_connect(f);
    int n = snprintf(request, sizeof request,
                     "GET %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n", path, token);
    assert_int_equal(send(fd, request, (size_t)n, MSG_NOSIGNAL), n);
    return fd;
}

int af_receive(int fd, int timeout_ms, char *body, size_t body_size) {
    char text[65536];
    size_t len = 0;
    int64_t end = af_now_ms() + timeout_ms;
    text[0] = '\0';
    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int64_t left = end - af_now_ms();
        if (left <= 0 || poll(&p, 1, (int)left) <= 0)
            return -1;
        ssize_t n = recv(fd, text + len, sizeof text - 1 - len, 0);
        if (n < 0)
            return -1;
        len += (size_t)n;
        text[len] = '\0';
        const char *head = strstr(text, "\r\n\r\n");
        const char *length = head ? strcasestr(text, "Content-Length: ") : NULL;
        if (n > 0 && (!head || !length || strlen(head + 4) < strtoul(length + 16, NULL, 10)))
            continue;
        if (!head)
            return -1;
        if (body)
            snprintf(body, body_size, "%s", head + 4);
        return atoi(text + 9);
    }
}
