// SPDX-License-Identifier: Apache-2.0
//
// What a section of notices tells: metrics, and its state for /readyz. The courier's thread writes;
// any thread reads.
#pragma once

#include <pthread.h>

#include "certsync/base/buf.h"
#include "certsync/runtime/clock.h"
#include "certsync/runtime/metrics.h"
#include "notify/notice.h"

enum cs_note_state {
    CS_NOTE_STARTING,
    CS_NOTE_STANDING_BY, // another process serves the section
    CS_NOTE_WORKING,
    CS_NOTE_WAITING, // the receiver does not take notices; they are kept
    CS_NOTE_FAILING, // Kafka or Redis is away, or something must be mended: nothing is followed
};
#define CS_NOTE_STATES 5
const char *cs_note_state_name(enum cs_note_state s);

struct cs_note_status {
    enum cs_note_state state;
    int64_t since_ms;  // wall clock: since when it is so
    int64_t waiting;   // entries
    int64_t oldest_ms; // when the oldest that is tried now was made; 0: none
    char why[CS_ERR_MSG_MAX];
};

struct cs_note_metrics { // of all sections
    struct cs_metric *made, *delivered, *failed, *dropped, *waiting, *oldest, *state;
};
void cs_note_metrics_init(struct cs_note_metrics *m, struct cs_metrics *registry);

struct cs_note_board { // of one section
    pthread_mutex_t lock;
    struct cs_note_status now;
    const struct cs_clock *clock;
    struct cs_series *made[CS_NOTICE_KIND_COUNT];
    struct cs_series *delivered, *away, *refused, *dropped, *waiting, *oldest, *states[CS_NOTE_STATES];
};
void cs_note_board_init(struct cs_note_board *b, const struct cs_note_metrics *m, const char *section,
                        const struct cs_clock *clock);
void cs_note_board_clear(struct cs_note_board *b);
// why NULL: nothing is wrong. True if the state or the reason changed.
bool cs_note_board_set(struct cs_note_board *b, enum cs_note_state state, const char *why);
void cs_note_board_waiting(struct cs_note_board *b, int64_t waiting, int64_t oldest_ms);
void cs_note_board_get(struct cs_note_board *b, struct cs_note_status *ret);
// In the renderer's thread: ages grow also where the courier hangs.
void cs_note_board_render(struct cs_note_board *b);
