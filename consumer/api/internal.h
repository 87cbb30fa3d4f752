// SPDX-License-Identifier: Apache-2.0
//
// Inside the API. A call is one request under an account. Steps lead it from its token to its
// answer. Each step gets the reply of Redis that the step before asked for. It does exactly one
// thing: asks again, answers, or parks (api/wait.c). A call has at most one question under way. The
// code between the steps handles, once for all: Redis being away, error replies, clients that
// leave.
//
// A call reads one generation of its partition's catalog (catalog.h): the one that the API takes
// for live. With every question it asks, in one transaction, which generation is live, and the
// catalog's position. If another one is live, the call begins again with that one, and uses nothing
// that it read before. If the position is behind what was published, it is not used for an answer
// (api/freshness.c).
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "api/api.h"
#include "api/follow.h"
#include "api/known.h"
#include "api/past.h"
#include "api/token.h"
#include "api/verified.h"
#include "catalog/packed.h"
#include "redis/key.h"
#include "redis/pool.h"

#include "certsync/base/keyed.h"
#include "certsync/model/codes.h"
#include "certsync/model/outcome.h"
#include "certsync/model/state.h"
#include "certsync/runtime/filewatch.h"
#include "certsync/runtime/http.h"
#include "certsync/runtime/liveness.h"

#define API_COMMAND_MAX ((size_t)1 << 20)   // bytes of one command for Redis
#define API_DOCS_MAX    50                  // documents of one step: a bound for one turn of the loop
#define API_MEMBERS_MAX 1000                // index members of one step
#define API_STEPS_MAX   40                  // index steps of one request; then a short page with a cursor
#define API_PAGE_BYTES  ((size_t)512 << 10) // a page ends early beyond this
#define API_BODY_MAX    ((size_t)8 << 20)
#define API_LIMIT       100 // defaults and bounds of ?limit=
#define API_LIMIT_MAX   1000
#define API_MEMBER_MAX  CS_STATE_KEY_MAX

enum api_access {
    API_READ,         // the account's lists
    API_CERTIFICATES, // its certificates
    API_SEALED_KEY,
    API_OUTCOME,    // one outcome
    API_POLICY,     // what a key may register
    API_DEPLOYMENT, // what belongs to no account: the accounts themselves, the trusted keys
};

struct api_call;
typedef void (*api_step)(struct api_call *call, const redisReply *reply);

struct api_endpoint {
    enum api_access access;
    api_step begin;           // after the token is accepted; reply is NULL
    const char *const *query; // parameters that it knows, NULL-terminated
    char cursor;              // of API_DEPLOYMENT: the kind of its cursors
};

enum api_role { API_AGENT = 1, API_ADMIN, API_AUDITOR, API_CUSTODIAN, API_ISSUER };

// What was known of a partition when a question was asked (api/freshness.c).
struct api_seen {
    int64_t outcomes; // the position that its answer must have reached
    int64_t floor;
    uint64_t epoch;
    uint64_t stand; // of the catalog (api/known.h); 0: none
};

// The forms of a question that can be authenticated.
enum api_verb { API_GET = 1, API_MGET, API_MEMBERS, API_MEMBERS_AND_SCORES };

struct api_asked {
    int32_t partition;
    int64_t generation;
    struct cs_buf command; // without what is taken along
    bool beside;           // of what lies beside the catalog: the caller checks it
    enum api_verb verb;
    struct cs_buf keys; // without what comes before them in Redis, each with a NUL
    size_t keys_len;
    struct cs_witnesses witnesses; // of the same
    size_t known;                  // of these are not asked for (api/known.h)
    bool alone;                    // nothing is asked beside the documents, generation and position
    struct api_seen seen;
};
static inline bool api_is_index(const struct api_asked *asked) {
    return asked->verb == API_MEMBERS || asked->verb == API_MEMBERS_AND_SCORES;
}

struct api_call {
    struct cs_api *api;
    struct cs_http_request *req; // NULL once answered, or when the client has left
    const struct api_endpoint *endpoint;
    cs_account_id account; // "" if the path's is malformed, and with API_DEPLOYMENT
    int32_t partition;     // the account's; with API_DEPLOYMENT that of this page
    struct cs_token token;
    uint8_t token_sha256[32];
    enum api_role role;
    bool own_events_only; // of outcomes
    api_step next;        // what the reply goes to; NULL: nothing is asked
    int64_t generation;   // of the partition's catalog that it reads
    int64_t begun_ms;     // monotonic
    unsigned restarts;
    struct api_asked asked; // the question under way
    void *state;            // of the endpoint
    void (*state_free)(void *state);
    struct api_waiter *waiter;     // while parked
    struct api_older_job *older;   // while the log is asked
    struct api_search_job *search; // while the index is asked
    struct api_call *prev, *list_next;
};

struct api_prefix { // of a partition's keys in Redis
    int64_t generation;
    size_t slot_len, len; // without the generation, and with it
    char text[CS_PREFIX_MAX];
};

// The API in one loop. The first runs in the main thread, and has what all share.
struct cs_api {
    const struct cs_consumer *consumer;
    struct cs_api *first;
    struct cs_loop *loop;
    struct cs_http_server *http;
    struct cs_redis_pool *redis;
    struct cs_crypto *crypto;
    struct cs_authentic *authentic;
    struct cs_packer *packer;
    struct cs_keyed_table issuers; // api/issuers.c
    struct cs_verified *verified;
    struct api_known *known;
    struct api_waits *waits;
    struct api_older *older;
    struct api_call *calls;
    int64_t *generations; // by partition: the one taken for live
    struct api_prefix *prefixes;
    atomic_bool stopping;
    struct api_freshness *freshness; // shared
    // Shared; any thread may update them.
    struct cs_metric *requests;
    struct cs_metric *seconds;
    struct cs_series *verifications;
    struct cs_series *waiting;
    struct cs_series *redis_up;
    // Of a further one:
    pthread_t thread;
    bool started;
    struct cs_liveness alive;
    struct cs_timer *beat;
    // Of the first:
    struct cs_filewatch *tls_watch;
    struct api_look *look;
    struct api_follow *follow;  // NULL: there is no index
    pthread_mutex_t redis_lock; // to say in redis_up what is true of all
    pthread_mutex_t past_lock;  // one of the loops' threads asks for the past at a time
    size_t further_len;
    struct cs_api *further[CS_API_THREADS_MAX - 1];
};

// ---- api/api.c

// Whether all loops have Redis. Any thread.
bool api_redis_ready(const struct cs_api *api);

// ---- api/call.c: calls

// Handler of every route under an account: makes the call, checks its token, then calls
// endpoint->begin.
void api_call_start(struct cs_http_request *req, const struct api_endpoint *endpoint);
// Frees calls with a question that nobody will answer any more (cs_api_free).
void api_calls_free(struct cs_api *api);
int64_t api_now_s(const struct cs_api *api);

// What the keys of a generation begin with; 0: those of the whole partition. Borrowed until another
// generation is asked for.
struct cs_bytes api_prefix(struct cs_api *api, int32_t partition, int64_t generation);
// Keys are written as in entry.h. Their prefix in Redis is added here, with the generation that the
// call reads.
void api_put_key(struct cs_buf *command, const struct api_call *call, int32_t partition, const char *key);
// The same, for any generation; 0: a key of the whole partition.
void api_put_key_of(struct cs_buf *command, struct cs_api *api, int32_t partition, int64_t generation,
                    const char *key);
// The generation in a reply of its key; 0 if there is none.
int64_t api_generation(const redisReply *reply);
// Asks. The reply goes to next, unless it is an error. If it cannot ask, it answers 503 itself.
void api_ask(struct api_call *call, const struct cs_buf *command, api_step next);
// The same for another partition than the call's own.
void api_ask_of(struct api_call *call, int32_t partition, const struct cs_buf *command, api_step next);
// Asks for one key: with GET, or with the given command.
void api_ask_key(struct api_call *call, api_step next, const char *key);

// Asks for what lies beside the partition's catalogs (catalog/heard.h), with MGET. What is answered is
// not checked.
void api_ask_beside(struct api_call *call, const struct cs_buf *command, api_step next);

// Answers; the call is freed when its step returns.
void api_answer(struct api_call *call, const struct cs_buf *json);
void api_problem(struct api_call *call, int status, const char *code, const char *fmt, ...) CS_PRINTF(4, 5);
void api_not_found(struct api_call *call, enum cs_code code); // 404 with the code's sentence
void api_redis_away(struct api_call *call);                   // 503, Retry-After
void api_busy(struct api_call *call, const char *why);        // 503, Retry-After
// The catalog holds what certsync did not write (DAMAGED): 503, logged, and the worker is told.
// Otherwise 500, logged.
void api_not_genuine(struct api_call *call, int32_t partition, int64_t generation, const struct cs_err *err);
// The catalog holds what cannot be read: answers 500, and logs.
void api_unreadable(struct api_call *call, const struct cs_err *err);
// After a step outside of a reply (a timer, a message): frees the call if it is answered.
void api_call_settle(struct api_call *call);

// Bytes of a string reply; data NULL for nil and anything else.
struct cs_bytes api_bytes(const redisReply *reply);
// Elements of an array reply; 0 for anything else.
size_t api_elements(const redisReply *reply);
const char *api_query(const struct api_call *call, const char *name);

// ---- api/genuine.c: whether what Redis answers is what was written there

// Reads the question's command: verb and keys. FATAL: a form that cannot be checked.
CS_MUST_USE bool api_asked_read(struct cs_api *api, struct api_asked *asked, struct cs_err *err);
// Which witnesses are to be asked for: those that are not known at this stand, or all.
CS_MUST_USE bool api_asked_witnesses(struct cs_api *api, struct api_asked *asked, bool all,
                                     struct cs_err *err);
// Appends the commands that must be asked in one transaction with the question: these witnesses,
// and first, of an index, how many members it has.
void api_put_witnesses(struct cs_api *api, const struct api_asked *asked, struct cs_buf *commands);
// Takes marks and packing off the documents or members of an answer. DAMAGED where one is not genuine, or is
// not what its witness says. begun: the catalog has a position. beside: the answers to
// api_put_witnesses.
CS_MUST_USE bool api_genuine(struct cs_api *api, struct api_asked *asked, const redisReply *reply, bool begun,
                             redisReply *const *beside, size_t beside_n, struct cs_err *err);
// The witnesses of a genuine answer are known now, while the catalog stands as it did then.
void api_asked_keep(struct cs_api *api, const struct api_asked *asked, uint64_t stand);
// One document without mark and packing, which *ret borrows from the reply. A reply is read once. Does not
// ask its witness.
CS_MUST_USE bool api_genuine_doc(struct cs_api *api, int32_t partition, const char *key,
                                 const redisReply *reply, struct cs_bytes *ret, struct cs_err *err);

// ---- api/auth.c
void api_auth_begin(struct api_call *call);

// ---- api/page.c: pages and cursors

// Kinds of the cursors that are read before the listing begins.
#define API_CURSOR_ACCOUNTS 'A'
#define API_CURSOR_TRUST    'T'
#define API_CURSOR_HOSTS    'h'

struct api_page {
    int64_t limit;
    bool has_cursor;
    int64_t score;                   // of the last member seen (by score), or the last number
    int64_t passed;                  // members of this score that were seen
    char member[API_MEMBER_MAX + 1]; // the last one seen
};
// Reads ?limit= and ?cursor= of a listing of this kind (one letter). False: answered with 400.
CS_MUST_USE bool api_page_read(struct api_call *call, char kind, struct api_page *page);
// For a listing that goes through the partitions: where its cursor is. 0 without a cursor, or with
// an invalid one.
int32_t api_page_partition(const struct api_call *call, char kind);
// A number of all that this request asks, but for limit and cursor: a cursor is good for that alone.
uint32_t api_page_of(const struct api_call *call);
// "next":"…" after the list.
void api_page_put_next(struct cs_buf *json, const struct api_call *call, char kind,
                       const struct api_page *page);
// A whole number of a query parameter; the default where it is absent. False: answered with 400.
CS_MUST_USE bool api_query_int(struct api_call *call, const char *name, int64_t def, int64_t min, int64_t max,
                               int64_t *ret);
// ZRANGEBYLEX of a whole index of the account (without one: of the partition), or of members that
// begin with prefix, from the page's cursor on.
void api_page_put_lex(struct cs_buf *command, const struct api_call *call, const struct api_page *page,
                      enum cs_kind index, const char *prefix, int64_t count);
// The same of any index of the call's partition.
void api_page_put_lex_of(struct cs_buf *command, const struct api_call *call, const struct api_page *page,
                         const char *index, const char *prefix, int64_t count);

// Lists of small documents, one index and one document each (api/lists.c).
void api_csrs(struct api_call *call, const redisReply *reply);
void api_hosts(struct api_call *call, const redisReply *reply); // api/hosts.c
void api_agents(struct api_call *call, const redisReply *reply);
void api_policy(struct api_call *call, const redisReply *reply);
void api_accounts(struct api_call *call, const redisReply *reply);
void api_account(struct api_call *call, const redisReply *reply);
void api_trust(struct api_call *call, const redisReply *reply);
void api_shares(struct api_call *call, const redisReply *reply); // api/shares.c

// ---- api/certificates.c, api/search.c, api/certificate.c
#define API_SHARES_SHOWN 20 // of one certificate in a list
// Which certificates a list is to have, and in which order. False: answered with 400.
CS_MUST_USE bool api_filter_read(struct api_call *call, struct api_filter *f, bool *ret_by_expiry);
// The rest of a list that needs the index. call->state is not used yet.
void api_search(struct api_call *call, const struct api_filter *f, bool by_expiry);
void api_history(struct api_call *call, const redisReply *reply);    // api/history.c
void api_search_all(struct api_call *call, const redisReply *reply); // of all accounts
void api_certificates(struct api_call *call, const redisReply *reply);
void api_certificate(struct api_call *call, const redisReply *reply);
void api_sealed_key(struct api_call *call, const redisReply *reply);

// ---- api/issuers.c: the certificates that chains name

// What a hash names never changes. So what was read once is kept, and need not be asked for again: the
// base64 text of its DER. data NULL: it is not at hand. Borrowed until the next _keep.
struct cs_bytes api_issuer(const struct cs_api *api, const char *id);
// Copies der. Without memory it is not kept.
void api_issuer_keep(struct cs_api *api, const char *id, struct cs_bytes der);
void api_issuers_free(struct cs_api *api);

// ---- api/item.c: a certificate as JSON

#define API_WITHIN_DAYS 30
#define API_WITHIN_S    (INT64_C(86400) * API_WITHIN_DAYS)
const char *api_status_name(enum api_status s);
bool api_status_parse(const char *s, enum api_status *ret);

struct api_item {
    const struct cs_cert_summary *summary;
    const char *id;
    const char *owner_account; // shared in: whose it is; else NULL
    const char *share;         // shared in: the share's id
    const char *by;            // own: who sent it
    int64_t created_ms, updated_ms;
    size_t shares_total;
    const struct cs_certificate *own;   // own: for old versions; else NULL
    const struct cs_material *material; // to show its chains, else NULL; with
    const struct cs_api *api;           // which has their issuers at hand
};
void api_item_of_own(const struct cs_certificate *cert, struct api_item *ret);
void api_item_of_shared(const struct cs_shared_in *in, struct api_item *ret);
// Members of the object, without its braces and its shares.
void api_item_put(struct cs_buf *json, const struct api_item *item, int64_t now_s, int64_t within_s);
// {"to":…,"share":…,"state":…,"version":…}; nothing if the document is gone.
void api_item_put_share(struct cs_buf *json, const redisReply *share_doc);
void api_put_time_s(struct cs_buf *json, const char *name, int64_t time_s);
void api_put_time_ms(struct cs_buf *json, const char *name, int64_t time_ms);
void api_put_names(struct cs_buf *json, const char *name, char *const *names, size_t n);
void api_put_can(struct cs_buf *json, const char *name, unsigned can);
// An array of strings, one of each line; nothing where there are none.
void api_put_lines(struct cs_buf *json, const char *member, const char *lines);

// ---- api/outcomes.c, api/wait.c
void api_outcomes(struct api_call *call, const redisReply *reply);
void api_outcome(struct api_call *call, const redisReply *reply);

struct api_found {
    bool exists; // and this caller may see it
    bool final;
    struct cs_bytes doc;
};
// Two keys: of the event's outcome, and of that of a copy of it.
void api_put_outcome_keys(struct cs_buf *command, const struct api_call *call, int64_t generation,
                          const char *event);
// What their documents say to this call. Each may be nil. The copy's counts where there is no other.
// False: one cannot be read.
CS_MUST_USE bool api_outcome_look(const struct api_call *call, struct cs_bytes own, struct cs_bytes again,
                                  struct api_found *ret, struct cs_err *err);
void api_outcome_answer(struct api_call *call, struct cs_bytes doc); // 200
// The wait is over: looks once more, and answers what is there.
void api_outcome_last(struct api_call *call);

struct api_waits;
CS_MUST_USE bool api_waits_new(struct cs_api *api, struct api_waits **ret, struct cs_err *err);
void api_waits_free(struct api_waits *w); // after Redis is let go
// How many commits of a partition were heard of. Compare it with the number from before a question.
uint64_t api_wait_heard(const struct api_waits *w, int32_t partition);
// Parks the call until its event's outcome is final, or until `until_ms` (monotonic). Then the call
// is answered. heard: api_wait_heard from before the caller looked. Answers 503 if too many wait
// already.
void api_wait_park(struct api_call *call, const char *event, int64_t until_ms, uint64_t heard);
void api_wait_unpark(struct api_call *call); // the client has left
void api_waits_redis(struct api_waits *w, bool ready);

// ---- api/older.c: outcomes that are in the log only

// docs: of each event that was asked for what the catalog held of it, or nothing. all: the log was read
// to its end, as far as needed. history: of api_older_history.
typedef void (*api_older_step)(struct api_call *call, const struct cs_buf *docs, bool all,
                               const struct cs_past_history *history);
// Only where there is a consumer->past. The events had no outcome before since_ms.
void api_older_ask(struct api_call *call, cs_uuid *events, size_t n, int64_t since_ms, api_older_step step);
// The same for at most `most` outcomes of a certificate after the one with this number.
void api_older_history(struct api_call *call, const char *subject, int64_t after, size_t most,
                       int64_t since_ms, api_older_step step);
void api_older_leave(struct api_call *call); // the client has left
struct api_older;
CS_MUST_USE bool api_older_new(struct cs_api *api, struct api_older **ret, struct cs_err *err);
void api_older_free(struct api_older *o); // takes NULL

// ---- api/freshness.c: whether a catalog has caught up with what was published

bool api_freshness_new(struct cs_api *api, struct api_freshness **ret, struct cs_err *err);
void api_freshness_free(struct api_freshness *s); // takes NULL
// The keys of generation and position, two arguments of an MGET.
void api_put_freshness_keys(struct cs_buf *command, struct cs_api *api, int32_t partition,
                            int64_t generation);
// To be taken before a question is asked, and given back with its answer.
struct api_seen api_seen_now(struct cs_api *api, int32_t partition);
// Whether an answer may use what was read together with this position of the live generation.
// *ret_stand: where the catalog stood then; 0: not known.
bool api_is_fresh(struct cs_api *api, int32_t partition, int64_t generation, const struct api_seen *seen,
                  const redisReply *position, uint64_t *ret_stand);
// The same of a position that another thread read and found genuine. Any thread.
bool api_has_caught_up(struct cs_api *api, int32_t partition, int64_t outcomes);
// What the API read of this generation is not genuine: logged once.
void api_found_damage(struct cs_api *api, int32_t partition, int64_t generation, const struct cs_err *err);
// A connection to Redis came or went: it may be another Redis now.
void api_freshness_doubt(struct api_freshness *s);
// Reads all positions now. Only in the first loop's thread.
void api_freshness_look(struct api_freshness *s);
// Whether Kafka was asked for the published outcomes of each partition, and said some of them.
bool api_freshness_known(struct api_freshness *s);

// ---- api/look.c: the age of shares, and who is heard of

struct api_look;
CS_MUST_USE bool api_look_new(struct cs_api *api, struct api_look **ret, struct cs_err *err);
void api_look_free(struct api_look *l); // after the pool, whose last callbacks it has
void api_waits_stop(struct api_waits *w);

// ---- api/health.c
void api_log(struct cs_http_request *req, void *arg);
void api_healthz(struct cs_http_request *req, void *arg);
void api_readyz(struct cs_http_request *req, void *arg);
void api_metrics(struct cs_http_request *req, void *arg);
