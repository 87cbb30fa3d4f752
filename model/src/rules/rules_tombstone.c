// SPDX-License-Identifier: Apache-2.0
//
// Tombstones say that an id was used: of a deleted certificate or request, of a closed share, and of a key that
// ended. They stand in a queue of their partition, in the order in which they came. One that no event can undo
// any more is taken away by the events that come after: an event that was made before it is too old to be
// accepted (event.too_old). So what is there follows from the log alone.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "rules/rules_internal.h"

// Senders' clocks may be ahead by a day.
#define KEPT_MS (CS_EVENT_AGE_MAX_MS + INT64_C(24) * 3600 * 1000)
// More than most events leave. So a queue that grew becomes short again.
#define AT_ONCE 8

_Static_assert(CS_TOMBSTONE_KEY_MAX == CS_STATE_KEY_MAX, "each key has room");

static const char *key_of(cs_key ret, int64_t n) {
    char number[24];
    snprintf(number, sizeof number, "%" PRId64, n);
    return cs_key_tombstone(ret, number);
}

static bool is_over(const struct cs_judge *j, int64_t at_ms) {
    return at_ms + KEPT_MS < j->record->timestamp_ms;
}

// Whether the oldest is over.
static bool read_due(struct cs_judge *j, struct cs_tombstones *ret) {
    return cs_judge_read_tombstones(j, cs_key_tombstones(CS_NEW_KEY), ret) && is_over(j, ret->oldest_ms);
}

void cs_tombstones_touch(struct cs_judge *j) {
    struct cs_tombstones all;
    struct cs_bytes value;
    if (read_due(j, &all))
        for (int64_t n = all.first; n < all.next && n <= all.first + AT_ONCE; n++)
            (void)cs_judge_look(j, key_of(CS_NEW_KEY, n), &value);
}

static void put_all(struct cs_judge *j, const struct cs_tombstones *all) {
    const char *key = cs_key_tombstones(CS_NEW_KEY);
    if (cs_judge_stopped(j))
        return;
    if (all->first == all->next) {
        cs_state_delete(j->state, key);
        return;
    }
    cs_tombstones_encode(cs_judge_begin(j), all);
    cs_judge_put(j, key);
}

// A key goes with all that its account had of it: its place in the list of keys, and what it sent.
static void forget_key(struct cs_judge *j, const char *key) {
    const char *account = key + sizeof "key/" - 1, *kid = strrchr(key, '/') + 1;
    cs_account_id name = "";
    memcpy(name, account, (size_t)(kid - 1 - account));
    cs_key stream;
    cs_stream_of_agent(stream, name, kid);
    cs_state_remove(j->state, cs_key_agents(CS_NEW_KEY, name), kid);
    cs_state_delete(j->state, cs_key_stream(CS_NEW_KEY, stream));
    cs_state_trim(j->state, cs_key_seen(CS_NEW_KEY, stream), 0);
}

void cs_tombstones_expire(struct cs_judge *j) {
    struct cs_tombstones all;
    if (!read_due(j, &all))
        return;
    for (int i = 0; all.first < all.next; i++, all.first++) {
        struct cs_tombstone t;
        cs_key key;
        if (!cs_judge_read_tombstone(j, key_of(key, all.first), &t)) {
            cs_judge_lacks(j, key);
            return;
        }
        all.oldest_ms = t.at_ms;
        if (i == AT_ONCE || !is_over(j, t.at_ms))
            break;
        cs_state_delete(j->state, t.key);
        if (cs_key_is(t.key, CS_KIND_AGENT))
            forget_key(j, t.key);
        cs_state_delete(j->state, key);
    }
    put_all(j, &all);
}

void cs_tombstone_add(struct cs_judge *j, const char *key) {
    struct cs_tombstone t = {.at_ms = j->record->timestamp_ms};
    struct cs_tombstones all;
    if (!cs_judge_read_tombstones(j, cs_key_tombstones(CS_NEW_KEY), &all))
        all = (struct cs_tombstones){.first = 1, .next = 1, .oldest_ms = t.at_ms};
    CS_COPY(t.key, key);
    cs_tombstone_encode(cs_judge_begin(j), &t);
    cs_judge_put(j, key_of(CS_NEW_KEY, all.next));
    all.next++;
    put_all(j, &all);
}
