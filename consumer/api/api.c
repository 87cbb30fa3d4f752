// SPDX-License-Identifier: Apache-2.0
#include "api/api.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

#include "api/internal.h"
#include "certsync/runtime/log.h"
#include "certsync/runtime/thread.h"
#include "certsync/runtime/tls_expiry.h"

#define REPLY_MARGIN_MS 5000 // the server's deadline exceeds Redis' timeout and the longest wait by this

#define ACCOUNT "/v1/accounts/{account}"
#define PAGED   "limit", "cursor"
#define FILTERS                                                                                              \
    "name", "part", "dns", "issuer", "serial", "fingerprint", "key_type", "tag", "source", "status",         \
        "within", "within_hours", "algorithm", "sort", "count"

// One handler for each path under an account. It names the endpoint; api/call.c does the rest.
#define ENDPOINT(name, access_, begin_, ...)                                                                 \
    static void on_##name(struct cs_http_request *req, void *arg) {                                          \
        static const char *const query[] = {__VA_ARGS__};                                                    \
        static const struct api_endpoint endpoint = {.access = access_, .begin = begin_, .query = query};    \
        (void)arg;                                                                                           \
        api_call_start(req, &endpoint);                                                                      \
    }

// The same for what belongs to no account.
#define DEPLOYMENT_ENDPOINT(name, cursor_, begin_)                                                           \
    static void on_##name(struct cs_http_request *req, void *arg) {                                          \
        static const char *const query[] = {PAGED, NULL};                                                    \
        static const struct api_endpoint endpoint = {                                                        \
            .access = API_DEPLOYMENT, .begin = begin_, .query = query, .cursor = cursor_};                   \
        (void)arg;                                                                                           \
        api_call_start(req, &endpoint);                                                                      \
    }

ENDPOINT(certificates, API_CERTIFICATES, api_certificates, FILTERS, PAGED, NULL)
ENDPOINT(all_certificates, API_DEPLOYMENT, api_search_all, FILTERS, PAGED, NULL)
ENDPOINT(certificate, API_CERTIFICATES, api_certificate, "owner", NULL)
ENDPOINT(hosts, API_CERTIFICATES, api_hosts, PAGED, NULL)
ENDPOINT(history, API_READ, api_history, PAGED, NULL)
ENDPOINT(sealed_key, API_SEALED_KEY, api_sealed_key, NULL)
DEPLOYMENT_ENDPOINT(accounts, API_CURSOR_ACCOUNTS, api_accounts)
ENDPOINT(account, API_READ, api_account, NULL)
DEPLOYMENT_ENDPOINT(trust, API_CURSOR_TRUST, api_trust)
ENDPOINT(policy, API_POLICY, api_policy, NULL)
ENDPOINT(csrs, API_READ, api_csrs, "name", PAGED, NULL)
ENDPOINT(shares, API_READ, api_shares, PAGED, NULL)
ENDPOINT(agents, API_READ, api_agents, PAGED, NULL)
ENDPOINT(outcomes, API_READ, api_outcomes, PAGED, NULL)
ENDPOINT(outcome, API_OUTCOME, api_outcome, "wait", NULL)

static const struct cs_http_route routes[] = {
    {"GET", "/v1/accounts", on_accounts},
    {"GET", ACCOUNT, on_account},
    {"GET", "/v1/certificates", on_all_certificates},
    {"GET", "/v1/trust", on_trust},
    {"GET", "/v1/log", api_log},
    {"GET", ACCOUNT "/certificates", on_certificates},
    {"GET", ACCOUNT "/certificates/{id}", on_certificate},
    {"GET", ACCOUNT "/certificates/{id}/hosts", on_hosts},
    {"GET", ACCOUNT "/certificates/{id}/history", on_history},
    {"GET", ACCOUNT "/certificates/{id}/sealed-key", on_sealed_key},
    {"GET", ACCOUNT "/policy", on_policy},
    {"GET", ACCOUNT "/csrs", on_csrs},
    {"GET", ACCOUNT "/shares", on_shares},
    {"GET", ACCOUNT "/agents", on_agents},
    {"GET", ACCOUNT "/outcomes", on_outcomes},
    {"GET", ACCOUNT "/outcomes/{event}", on_outcome},
    {"GET", "/healthz", api_healthz},
    {"GET", "/readyz", api_readyz},
    {"GET", "/metrics", api_metrics},
};

static void on_exchange(const struct cs_http_exchange *x, void *arg) {
    struct cs_api *api = arg;
    char status[16];
    snprintf(status, sizeof status, "%d", x->status);
    const char *route = x->route[0] ? x->route : "none";
    cs_series_inc(cs_metric_2(api->requests, route, status));
    cs_series_observe(cs_metric_1(api->seconds, route), (double)x->duration_us / 1e6);
    cs_log(CS_LOG_DEBUG, "request", "method=%s path=%s status=%d us=%" PRId64 " peer=%s request=%s",
           x->method, x->path, x->status, x->duration_us, x->peer, x->request_id);
}

bool api_redis_ready(const struct cs_api *api) {
    const struct cs_api *first = api->first;
    bool ready = cs_redis_pool_ready(first->redis);
    for (size_t i = 0; ready && i < first->further_len; i++)
        ready = cs_redis_pool_ready(first->further[i]->redis);
    return ready;
}

static void look_again(void *arg) {
    const struct cs_api *first = arg;
    if (first->freshness)
        api_freshness_look(first->freshness);
}

// A loop that is ready makes the others' looks doubtful, so the first one looks once more.
static void on_redis(void *arg, bool ready) {
    struct cs_api *api = arg, *first = api->first;
    pthread_mutex_lock(&first->redis_lock);
    cs_series_set(api->redis_up, api_redis_ready(first) ? 1 : 0);
    pthread_mutex_unlock(&first->redis_lock);
    if (api->freshness)
        api_freshness_doubt(api->freshness);
    if (ready && !cs_loop_post(first->loop, look_again, first))
        cs_log_msg(CS_LOG_WARN, "out of memory: the API looks a second later"); // its timer does
    if (api->waits)
        api_waits_redis(api->waits, ready);
}

static void make_metrics(struct cs_api *api, struct cs_metrics *m) {
    static const char *const by_route[] = {"route", NULL};
    static const char *const by_route_and_status[] = {"route", "status", NULL};
    api->requests = cs_metrics_counter(m, "certsync_api_requests_total",
                                       "Requests by route and status; 0: the client left before the answer.",
                                       by_route_and_status);
    api->seconds =
        cs_metrics_histogram(m, "certsync_api_request_seconds", "Time from a request to its answer.",
                             by_route, cs_metrics_seconds_bounds, cs_metrics_seconds_bound_count);
    api->verifications = cs_metric_0(cs_metrics_counter(
        m, "certsync_api_token_verifications_total",
        "Signatures of tokens that were verified: of each token once while it is valid.", NULL));
    api->waiting = cs_metric_0(
        cs_metrics_gauge(m, "certsync_api_waiting_requests", "Requests that wait for an outcome.", NULL));
    api->redis_up = cs_metric_0(
        cs_metrics_gauge(m, "certsync_api_redis_up", "Whether the API is connected to Redis.", NULL));
    cs_series_set(api->waiting, 0);
    cs_series_set(api->redis_up, 0);
}

static bool start_redis(struct cs_api *api, struct cs_err *err) {
    struct cs_redis_pool_options o = {.loop = api->loop,
                                      .access = &api->consumer->redis,
                                      .purpose = "api",
                                      .on_state = on_redis,
                                      .arg = api};
    return cs_redis_pool_new(&o, &api->redis, err) && api_waits_new(api, &api->waits, err) &&
           api_older_new(api, &api->older, err);
}

// Notes the certificate that is in use now.
static void note_tls(const struct cs_api *api) {
    const struct cs_consumer *c = api->consumer;
    if (c->settings->api_tls_certificate[0])
        cs_tls_expiry_set(c->tls_expiry, c->settings->api_tls_certificate);
}

static bool on_tls_files(void *arg, struct cs_err *err) {
    return cs_api_reload_tls(arg, err);
}

// Called before the files are read first, so that later changes are seen.
static bool watch_tls(struct cs_api *api, struct cs_err *err) {
    const struct cs_consumer_settings *s = api->consumer->settings;
    const char *const paths[] = {s->api_tls_certificate, s->api_tls_key};
    struct cs_filewatch_options o = {.loop = api->loop,
                                     .paths = paths,
                                     .path_count = CS_ARRAY_LEN(paths),
                                     .what = "api.tls_certificate, api.tls_key",
                                     .on_change = on_tls_files,
                                     .arg = api};
    return !paths[0][0] || cs_filewatch_new(&o, &api->tls_watch, err);
}

static struct cs_http_options http_options(const struct cs_consumer_settings *s) {
    return (struct cs_http_options){
        .listen = s->api_listen,
        .listen_setting = "api.listen",
        .tls_cert_file = s->api_tls_certificate,
        .tls_cert_setting = "api.tls_certificate",
        .tls_key_file = s->api_tls_key,
        .tls_key_setting = "api.tls_key",
        .routes = routes,
        .route_count = CS_ARRAY_LEN(routes),
        .on_exchange = on_exchange,
        .max_body_bytes = 4096, // none of our requests has a body
        .max_connections = (size_t)s->api_max_connections,
        .reply_timeout_ms = s->api_max_wait_s * 1000 + s->redis_timeout_ms * 2 + REPLY_MARGIN_MS,
    };
}

bool cs_api_try(const struct cs_consumer_settings *s, bool *ret_in_use, struct cs_err *err) {
    struct cs_http_options o = http_options(s);
    *ret_in_use = false;
    return !s->api_listen[0] || cs_http_server_try(&o, ret_in_use, err);
}

static bool start_http(struct cs_api *api, struct cs_err *err) {
    struct cs_http_options o = http_options(api->consumer->settings);
    o.arg = api;
    if (!watch_tls(api, err) || !cs_http_server_new(cs_loop_base(api->loop), &o, &api->http, err))
        return false;
    note_tls(api);
    return true;
}

static bool make_places(struct cs_api *api, struct cs_err *err) {
    size_t n = (size_t)api->consumer->partition_count;
    api->generations = calloc(n, sizeof *api->generations);
    api->prefixes = calloc(n, sizeof *api->prefixes);
    for (size_t p = 0; api->generations && p < n; p++)
        api->generations[p] = 1;
    return (api->generations && api->prefixes) || cs_err_oom(err);
}

// What each loop has for itself.
static bool make_own(struct cs_api *api, struct cs_err *err) {
    const struct cs_consumer *c = api->consumer;
    return make_places(api, err) && cs_crypto_new(&api->crypto, err) &&
           cs_authentic_new(c->service, c->log_id, &api->authentic, err) &&
           cs_packer_new(&api->packer, err) && cs_verified_new(&api->verified, err) &&
           api_known_new(&api->known, err) && start_redis(api, err);
}

static struct cs_api *make(const struct cs_consumer *c, struct cs_loop *loop, struct cs_api *first) {
    struct cs_api *api = calloc(1, sizeof *api);
    if (!api)
        return NULL;
    api->consumer = c;
    api->loop = loop;
    api->first = first ? first : api;
    pthread_mutex_init(&api->redis_lock, NULL);
    pthread_mutex_init(&api->past_lock, NULL);
    return api;
}

// ---- further loops

#define BEAT_MS 1000

static void on_beat(void *arg) {
    cs_liveness_beat(&((struct cs_api *)arg)->alive, 2 * BEAT_MS);
}

static void *run(void *arg) {
    struct cs_api *api = arg;
    prctl(PR_SET_NAME, "api");
    (void)cs_loop_run(api->loop);
    cs_liveness_rest(&api->alive);
    return NULL;
}

static bool add_further(struct cs_api *first, struct cs_err *err) {
    struct cs_loop *loop = NULL;
    if (!cs_loop_new_plain(&loop, err))
        return false;
    struct cs_api *api = make(first->consumer, loop, first);
    if (!api) {
        cs_loop_free(loop);
        return cs_err_oom(err);
    }
    first->further[first->further_len++] = api;
    api->freshness = first->freshness;
    api->requests = first->requests;
    api->seconds = first->seconds;
    api->verifications = first->verifications;
    api->waiting = first->waiting;
    api->redis_up = first->redis_up;
    api->beat = cs_timer_new(loop, 0, BEAT_MS, on_beat, api);
    return (api->beat || cs_err_oom(err)) && make_own(api, err) &&
           cs_http_server_share(first->http, cs_loop_base(loop), api, &api->http, err);
}

// All are made before the first one runs.
static bool start_further(struct cs_api *first, struct cs_err *err) {
    int threads = cs_settings_api_threads(first->consumer->settings);
    for (int i = 1; i < threads; i++)
        if (!add_further(first, err))
            return false;
    for (size_t i = 0; i < first->further_len; i++) {
        struct cs_api *api = first->further[i];
        api->started = cs_thread_new(&api->thread, run, api, err);
        if (!api->started)
            return false;
    }
    return true;
}

int64_t cs_api_overdue_ms(const struct cs_api *api) {
    int64_t most = 0;
    for (size_t i = 0; i < api->further_len; i++) {
        int64_t overdue_ms = cs_liveness_overdue_ms(&api->further[i]->alive);
        most = overdue_ms > most ? overdue_ms : most;
    }
    return most;
}

// ---- life

bool cs_api_new(const struct cs_consumer *c, struct cs_api **ret, struct cs_err *err) {
    struct cs_api *api = make(c, c->loop, NULL);
    if (!api)
        return cs_err_oom(err);
    make_metrics(api, c->metrics);
    if (!make_own(api, err) || !api_look_new(api, &api->look, err) ||
        !api_freshness_new(api, &api->freshness, err) ||
        (c->settings->api_search && !api_follow_new(api, &api->follow, err)) || !start_http(api, err) ||
        !start_further(api, err)) {
        cs_api_free(api);
        return false;
    }
    *ret = api;
    return true;
}

static void stop(void *arg) {
    struct cs_api *api = arg;
    atomic_store(&api->stopping, true);
    cs_http_server_stop(api->http);
    api_waits_stop(api->waits);
}

void cs_api_stop(struct cs_api *api) {
    stop(api);
    for (size_t i = 0; i < api->further_len; i++)
        if (!cs_loop_post(api->further[i]->loop, stop, api->further[i]))
            cs_log_msg(CS_LOG_ERROR, "a thread of the API could not be told to stop: out of memory");
}

bool cs_api_idle(const struct cs_api *api) {
    bool idle = cs_http_server_open_requests(api->http) == 0;
    for (size_t i = 0; idle && i < api->further_len; i++)
        idle = atomic_load(&api->further[i]->stopping) &&
               cs_http_server_open_requests(api->further[i]->http) == 0;
    return idle;
}

static void end_loop(void *arg) {
    cs_loop_done(arg);
}

// No loop runs it any more. The server first: it lets go of all requests, so that nothing is asked or
// answered any more. Then Redis: its last callbacks free the calls that still had a question under
// way.
static void free_one(struct cs_api *api) {
    cs_http_server_free(api->http);
    cs_redis_pool_free(api->redis);
    api_waits_free(api->waits);
    api_look_free(api->look);
    api_older_free(api->older);
    if (api->first == api)
        api_freshness_free(api->freshness);
    api_calls_free(api);
    cs_timer_free(api->beat);
    cs_crypto_free(api->crypto);
    cs_authentic_free(api->authentic);
    cs_packer_free(api->packer);
    api_issuers_free(api);
    cs_verified_free(api->verified);
    api_known_free(api->known);
    pthread_mutex_destroy(&api->redis_lock);
    pthread_mutex_destroy(&api->past_lock);
    if (api->first != api)
        cs_loop_free(api->loop);
    free(api->generations);
    free(api->prefixes);
    free(api);
}

static void end_thread(struct cs_api *api) {
    if (!api->started)
        return;
    while (!cs_loop_post(api->loop, end_loop, api->loop))
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL); // out of memory
    pthread_join(api->thread, NULL);
}

void cs_api_free(struct cs_api *api) {
    if (!api)
        return;
    atomic_store(&api->stopping, true);
    api_follow_stop(api->follow);
    cs_filewatch_free(api->tls_watch);
    for (size_t i = 0; i < api->further_len; i++)
        end_thread(api->further[i]);
    for (size_t i = 0; i < api->further_len; i++)
        free_one(api->further[i]);
    struct api_follow *follow = api->follow;
    free_one(api);
    api_follow_free(follow);
}

bool cs_api_reload_tls(struct cs_api *api, struct cs_err *err) {
    if (!cs_http_server_reload_tls(api->http, err))
        return false;
    note_tls(api);
    return true;
}

int cs_api_port(const struct cs_api *api) {
    return cs_http_server_port(api->http);
}
