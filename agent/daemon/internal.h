// SPDX-License-Identifier: Apache-2.0
//
// Inside the daemon: daemon.c (its life), daemon/discover.c (finding and watching),
// daemon/debounce.c (when a change is looked at), daemon/poll.c (what the kernel does not tell),
// daemon/judge.c (what follows from an item's files), daemon/policy.c (what the account lets in),
// daemon/ends.c (what the API said), daemon/health.c (what a person must know), daemon/status.c
// (status file and heartbeats), daemon/metrics.h.
#pragma once

#include "certsync/model/codes.h"
#include "certsync/runtime/loop.h"
#include "daemon/daemon.h"
#include "daemon/findings.h"
#include "daemon/metrics.h"
#include "daemon/outcome_poller.h"
#include "daemon/register.h"
#include "daemon/watch.h"
#include "event/host_policy.h"

struct event;

// An upload that waits for the group that goes into the spool with it. Never longer than one slice
// of work.
struct cs_waiting_upload {
    struct cs_item *item;
    struct cs_known *known;
    struct cs_composed *composed;
    uint64_t content;
};

// Everything that depends on one set of settings and one key. A reload makes it anew.
struct cs_engine {
    struct cs_daemon *daemon;
    unsigned generation; // posts to an engine that is gone are dropped
    struct cs_session session;
    struct cs_sections sections;
    struct cs_register reg;
    struct cs_spool *spool;
    struct cs_watch *watch;
    struct event *watch_event;
    struct cs_sender *sender;
    struct cs_outcome_poller *outcome_poller; // NULL: no API is configured
    struct cs_guarded buffers[6];             // certificate, key, chain; for an SM2 pair these three twice
    struct cs_timer *work, *rescan, *poll, *beat, *status;
    struct cs_place place; // during one slice of work
    struct cs_waiting_upload uploads[CS_SPOOL_GROUP_MAX];
    size_t uploads_len;
    struct cs_item **queue; // a heap by due_ms
    size_t queue_len, queue_cap;
    // monotonic: when to look through a section; 0: no need
    int64_t discover_ms[CS_WATCH_SECTIONS_MAX];
    unsigned scan; // number of the last look through a section
    unsigned listing;
    bool listed;      // the catalog's content is known as well as possible
    bool list_failed; // reported
    int64_t last_scan_ms;
    size_t poll_at;        // the next item to compare
    int64_t poll_began_ms; // monotonic: this round
    int64_t looking_ms;    // monotonic: the start of a look at all files; 0: none is under way
    int64_t blocked_until_ms, blocked_pause_ms; // the spool took nothing
    char blocked[CS_ERR_MSG_MAX];
    // why a directory cannot be watched; since the last look at everything
    char unwatched[CS_ERR_MSG_MAX];
    struct cs_host_policy policy; // as the API told it last
    bool unwatched_told;
    struct cs_findings findings[CS_WATCH_SECTIONS_MAX]; // of the last look through each section
    const struct cs_findings *found_before;             // during a look: those of the last one
    int64_t unjudged_seq,
        unjudged_ms; // the oldest event that is published and not judged; monotonic: since when
    bool stopping;
    // For status:
    bool changed;
    int64_t written_ms; // monotonic
    int64_t next_end_s; // when the next certificate expires
    int64_t started_ms;
    struct cs_link last_kafka, last_api;
    struct cs_beat_stand last_beat;
};

struct cs_daemon {
    const struct cs_cli *cli;
    struct cs_loop *loop;
    struct cs_engine *engine;
    struct cs_timer *drain;
    struct cs_agent_metrics *metrics;
    unsigned generations; // engines made so far
    int lock_fd;
    bool failed;
    char reload_refused[CS_ERR_MSG_MAX]; // why the settings were not read again
    int64_t replayed_times, replayed_watermark, replayed_ms;
};

int64_t engine_now(const struct cs_engine *e); // monotonic
int64_t engine_wall(const struct cs_engine *e);

// The queue: an item is handled when it is due. An earlier date stays.
void engine_queue(struct cs_engine *e, struct cs_item *item, int64_t due_ms);
void engine_unqueue(struct cs_engine *e, struct cs_item *item);
void engine_drop(struct cs_engine *e, struct cs_item *item);
void engine_arm(struct cs_engine *e); // sets the work timer to what is due next
// Appends events to the spool, all or none, and wakes the sender. If the spool takes nothing:
// RETRY, and all uploads wait for a while.
CS_MUST_USE bool engine_spool(struct cs_engine *e, struct cs_event *const *events, size_t n,
                              struct cs_err *err);

// daemon/discover.c
void engine_discover(struct cs_engine *e, size_t section);
void engine_look_at_all(struct cs_engine *e);
static inline size_t engine_section_index(const struct cs_engine *e, const struct cs_section *section) {
    return (size_t)(section - e->sections.items);
}
// Notes what paths matter to an item, and watches their directories.
void engine_follow(struct cs_engine *e, struct cs_item *item);
void engine_watch(struct cs_engine *e, const char *directory);

// daemon/debounce.c
void engine_discover_soon(struct cs_engine *e,
                          const struct cs_section *section); // the caller calls engine_arm
void engine_on_change(void *arg, const char *directory, const char *name);
void engine_on_lost(void *arg, const char *why);

// daemon/poll.c
CS_MUST_USE bool engine_start_polling(struct cs_engine *e);

// daemon/judge.c
uint64_t engine_stamp(const struct cs_item *item); // of its files as they are now
bool engine_concluded(const struct cs_item *item); // it waits for nothing but a change of its files
void engine_judge(struct cs_engine *e, struct cs_item *item);
// Its event was refused as too old, and is so by this host's clock, too: it lay in the spool, or the clock
// was set right since. A new event is made of its files. By a clock that is wrong still, a new one would be
// too old as well.
bool engine_outdated(const struct cs_engine *e, const struct cs_item *item);
// When it ends with its chain: as it was sent, or as the catalog says.
void engine_put_ends(struct cs_item *item, int64_t ends_s);
// Puts what was judged and is to be uploaded into the spool.
void engine_upload(struct cs_engine *e);
void engine_gone(struct cs_engine *e, struct cs_item *item);
void engine_delete(struct cs_engine *e, struct cs_item *item, const char *id);

// daemon/policy.c
bool engine_is_policy(enum cs_code code);
void engine_on_policy(void *arg, const struct cs_host_policy *policy); // hook of the outcome poller
// Whether the policy lets an upload in, as far as this host knows. False: err (REJECT).
CS_MUST_USE bool engine_policy_admits(const struct cs_engine *e, const struct cs_composed *c,
                                      struct cs_err *err);
// Notes what the policy says of a certificate that is registered, unless something is noted already.
void engine_policy_note(struct cs_engine *e, struct cs_item *item, const struct cs_keyed_source *src);

// daemon/place.c
void engine_place_of(const struct cs_engine *e, const struct cs_item *item, cs_place ret);
// Whether the catalog was told that this certificate is at this place.
bool engine_told(const struct cs_engine *e, const struct cs_item *item, const struct cs_known *k);
// The catalog has the item's certificate: it is to know that it is here.
void engine_tell_seen(struct cs_engine *e, struct cs_item *item, const struct cs_known *k);
// certificate.seen or certificate.gone of this place. remove: the certificate may go with its last place.
// False: the spool takes nothing now.
bool engine_tell(struct cs_engine *e, const struct cs_item *item, enum cs_event_type type, const char *id,
                 bool remove, cs_uuid ret_event);
// Tells that it is not at this place any more, and drops it. False: it is tried again.
bool engine_leave(struct cs_engine *e, struct cs_item *item);

// daemon/ends.c
extern const struct cs_outcome_poller_hooks engine_outcome_poller_hooks;
CS_MUST_USE bool engine_read_spool(struct cs_engine *e, struct cs_err *err);
void engine_listed(struct cs_engine *e);

// daemon/health.c
// What is wrong with an item, as a person sees it. False: nothing (then *ret is of no use).
struct cs_fault {
    const char *state; // of the item, or "expired"
    bool passing;      // may end by itself: shown, but not counted as failed
    enum cs_code code;
    char message[CS_ITEM_MESSAGE_MAX];
};
bool engine_fault(const struct cs_engine *e, const struct cs_item *item, struct cs_fault *ret);
// Whether one is a fault because a CA certificate of its chain has ended.
bool engine_chain_ended(const struct cs_engine *e);
// Certificates and findings of sections that failed.
size_t engine_failed(const struct cs_engine *e);
// What is wrong with the daemon and what it needs: an array of texts, {"what", "message"}.
json_t *engine_attention(const struct cs_engine *e);

// daemon/status.c
void engine_write_status(struct cs_engine *e);
void engine_beat(struct cs_engine *e);
