// SPDX-License-Identifier: Apache-2.0
#include "commands/submit.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "certsync/runtime/fault.h"
#include "certsync/runtime/log.h"
#include "event/watch_outcomes.h"
#include "spool/drain.h"

#define WAIT_MAX_S      30 // how long the API may wait for one answer
#define RETRY_PAUSE_MS  200
#define ANSWER_MS       500  // reserved for the answer after a full wait
#define DENIED_GRACE_MS 3000 // the key may be very new
#define SETTLE_MAX      8    // earlier events to check in passing
#define SIGN_AGAIN_MAX  5    // with another host of the same key this would never end
#define PLACES_UNKNOWN  (-1)

struct submission {
    struct cs_session *session;
    const struct cs_globals *globals;
    struct cs_event *event;
    const char *what;
    uint32_t notes;
    struct cs_spool *spool;
    struct cs_publisher *publisher;
    struct cs_outcome_watch *watch; // events for every partition
    int32_t partition;              // where the event is; -1: everywhere
    int64_t offset;
    struct cs_end end;
    char reason[CS_ERR_MSG_MAX]; // why the outcome is not known
    json_t *earlier;             // events of earlier commands that were sent with it
};

static void submission_clear(struct submission *b) {
    json_decref(b->earlier);
    cs_end_clear(&b->end);
    cs_outcome_watch_free(b->watch);
    cs_publisher_free(b->publisher);
    cs_spool_free(b->spool);
}
CS_DEFINE_AUTO_CLEAR(struct submission, submission_clear)

// --- saying it -----------------------------------------------------------------------------------

static json_t *json_event(const struct submission *b, const char *state, int exit_code) {
    const struct cs_event *ev = b->event;
    json_t *o = json_object();
    json_object_set_new(o, "status", json_string(state));
    json_object_set_new(o, "exit", json_integer(exit_code));
    json_object_set_new(o, "event", json_string(ev->id));
    json_object_set_new(o, "type", json_string(cs_event_type_name(ev->type)));
    if (ev->account[0])
        json_object_set_new(o, "account", json_string(ev->account));
    json_object_set_new(o, "kid", json_string(ev->kid));
    json_object_set_new(o, "subject", json_string(b->end.subject[0] ? b->end.subject : ev->subject));
    if (!b->globals->dry_run)
        json_object_set_new(o, "seq", json_integer(ev->seq));
    if (b->offset >= 0) {
        json_object_set_new(o, "partition", json_integer(b->partition));
        json_object_set_new(o, "offset", json_integer(b->offset));
    }
    json_t *notes = json_array();
    for (unsigned i = 0; i < CS_NOTE_COUNT; i++)
        if (b->notes >> i & 1)
            json_array_append_new(notes, json_string(cs_code_name(cs_note_code(i))));
    if (b->notes)
        json_object_set(o, "notes", notes);
    json_decref(notes);
    if (b->earlier)
        json_object_set(o, "earlier", b->earlier);
    return o;
}

static void json_end(json_t *o, const struct submission *b) {
    const struct cs_end *e = &b->end;
    if (e->code_name[0]) {
        json_object_set_new(o, "code", json_string(e->code_name));
        if (e->code != CS_CODE_NONE) {
            json_object_set_new(o, "sentence", json_string(cs_code_sentence(e->code)));
            json_object_set_new(o, "hint", json_string(cs_code_hint(e->code)));
        }
    }
    if (e->detail[0])
        json_object_set_new(o, "detail", json_string(e->detail));
    if (e->version > 0)
        json_object_set_new(o, "version", json_integer(e->version));
    json_t *outcome = json_object_get(e->doc, "outcome"), *final = json_object_get(e->doc, "final");
    if (outcome)
        json_object_set(o, "outcome", outcome);
    if (final)
        json_object_set(o, "final", final);
}

static int say(const struct submission *b, const char *state, int exit_code) {
    cs_interrupt_ended(b->session->interrupt);
    if (b->globals->json) {
        json_t *o = json_event(b, state, exit_code);
        json_end(o, b);
        if (b->reason[0])
            json_object_set_new(o, "message", json_string(b->reason));
        cs_report_json(b->session->cli, o);
    }
    return exit_code;
}

static void say_notes(const struct submission *b) {
    for (unsigned i = 0; i < CS_NOTE_COUNT && !b->globals->quiet && !b->globals->json; i++)
        if (b->notes >> i & 1)
            fprintf(b->session->cli->err, "note: %s: %s %s\n", cs_code_name(cs_note_code(i)),
                    cs_code_sentence(cs_note_code(i)), cs_code_hint(cs_note_code(i)));
}

static int say_applied(const struct submission *b) {
    const struct cs_end *e = &b->end;
    bool unchanged = e->code == CS_CODE_UNCHANGED;
    if (!b->globals->json && !b->globals->quiet) {
        FILE *out = b->session->cli->out;
        fprintf(out, "%s: %s", unchanged ? "unchanged" : "applied", b->what);
        if (e->version > 0)
            fprintf(out, " (certificate %s, version %" PRId64 ")", e->subject, e->version);
        fputc('\n', out);
        if (e->code != CS_CODE_NONE)
            fprintf(out, "  %s\n", cs_code_sentence(e->code));
        if (e->detail[0])
            fprintf(out, "  %s\n", e->detail);
    }
    return say(b, unchanged ? "unchanged" : "applied", CS_EXIT_OK);
}

static int say_rejected(const struct submission *b) {
    const struct cs_end *e = &b->end;
    if (!b->globals->json) {
        FILE *err = b->session->cli->err;
        const char *sentence = e->code != CS_CODE_NONE
                                   ? cs_code_sentence(e->code)
                                   : "the platform gives a code that this release does not know.";
        fprintf(err, "rejected: %s: %s%s%s\n", b->what, sentence, e->detail[0] ? " " : "", e->detail);
        if (e->code != CS_CODE_NONE)
            cs_report_code(b->session->cli, e->code, "");
        else
            fprintf(err, "  code: %s\n", e->code_name);
    }
    return say(b, "rejected", CS_EXIT_REJECTED);
}

// state: "spooled" (not in Kafka yet), "published" (not judged yet) or "pending".
static int say_unknown(const struct submission *b, const char *state) {
    if (!b->globals->json) {
        FILE *err = b->session->cli->err;
        fprintf(err, "%s: %s is not known to be applied: %s\n", b->session->cli->path, b->what, b->reason);
        cs_report_code(b->session->cli, b->end.code, "");
        if (strcmp(state, "spooled") == 0)
            fprintf(err,
                    "  It is kept as number %" PRId64
                    " in %s and goes out with the next command, or: certsync spool flush\n"
                    "  Give it up with: certsync spool drop %" PRId64 "\n",
                    b->event->seq, cs_spool_path(b->spool), b->event->seq);
        else if (b->event->account[0])
            fprintf(err, "  It was published. Ask again with: certsync outcomes %s --account %s\n",
                    b->event->id, b->event->account);
    }
    return say(b, state, CS_EXIT_UNKNOWN);
}

static int say_published(const struct submission *b) {
    if (!b->globals->json && !b->globals->quiet)
        fprintf(b->session->cli->out, "published: %s (event %s, number %" PRId64 ")\n", b->what, b->event->id,
                b->event->seq);
    return say(b, "published", CS_EXIT_OK);
}

static int say_dry_run(const struct submission *b) {
    if (!b->globals->json && !b->globals->quiet)
        fprintf(b->session->cli->out,
                "dry run: %s passes every check that this host can do; nothing was sent\n", b->what);
    return say(b, "dry-run", CS_EXIT_OK);
}

// --- doing it ------------------------------------------------------------------------------------

static void on_damaged(void *arg, const struct cs_err *err) {
    const struct submission *b = arg;
    fprintf(b->session->cli->err, "warning: %s\n", err->msg);
}

static void on_sending(void *arg) {
    const struct submission *b = arg;
    cs_interrupt_set(
        b->session->interrupt, "sending", b->event,
        "%s lies in the spool as number %" PRId64
        ". It was being published: whether Kafka has it is not known. If not, it goes out with the next "
        "command of this key; give it up with: certsync spool drop %" PRId64,
        b->what, b->event->seq, b->event->seq);
}

static void set_spooled(const struct submission *b) {
    cs_interrupt_set(
        b->session->interrupt, "spooled", b->event,
        "%s lies in the spool as number %" PRId64
        ", and was not published. It goes out with the next command of this key. Give it up with: "
        "certsync spool drop %" PRId64,
        b->what, b->event->seq, b->event->seq);
}

static void set_published(const struct submission *b) {
    const struct cs_event *ev = b->event;
    cs_interrupt_set(b->session->interrupt, "published", ev,
                     "%s was published and cannot be given up any more; its verdict is not known. %s%s%s%s",
                     b->what, ev->account[0] ? "Ask with: certsync outcomes " : "Its event is ", ev->id,
                     ev->account[0] ? " --account " : "", ev->account);
}

static bool publish(struct submission *b, struct cs_err *err) {
    struct cs_session *s = b->session;
    if (!b->publisher &&
        !cs_publisher_kafka(&s->settings->kafka, s->settings->events_topic, "certsync", &b->publisher, err))
        return false;
    struct cs_drain d = {.spool = b->spool,
                         .crypto = s->crypto,
                         .publisher = b->publisher,
                         .clock = s->clock,
                         .on_damaged = on_damaged,
                         .on_sending = on_sending,
                         .arg = b};
    if (!cs_drain_run(&d, b->event->seq, s->deadline_ms, err))
        return false;
    set_published(b);
    struct cs_spool_item *items;
    size_t n;
    if (!cs_spool_list(b->spool, &items, &n, err))
        return false;
    for (size_t i = 0; i < n; i++) {
        if (items[i].seq == b->event->seq && items[i].state == CS_SPOOL_SENT) {
            b->partition = items[i].partition;
            b->offset = items[i].partition < 0 ? PLACES_UNKNOWN : items[i].offset;
        }
    }
    free(items);
    return true;
}

// The API refuses this key (not enrolled, revoked) or does not know the account. Then cert.outcomes
// tells the outcome, if this host may read it.
static bool watch_instead(struct submission *b) {
    struct cs_err err;
    const struct cs_session *s = b->session;
    if (b->watch || b->partition < 0)
        return false;
    // If the topic cannot be read, that must leave time to ask the API again.
    int64_t deadline_ms = s->deadline_ms - cs_session_left_ms(s) / 2;
    if (cs_outcome_watch_new(s->settings, b->partition, b->offset, deadline_ms, &b->watch, &err))
        return true;
    cs_log_err(CS_LOG_INFO, "outcomes cannot be read from Kafka", &err, "topic=%s",
               s->settings->outcomes_topic);
    return false;
}

// This host was restored, or another host has its key. All events that are still here get numbers
// above the watermark and are published.
static bool sign_again(struct submission *b, struct cs_err *err) {
    struct cs_session *s = b->session;
    int64_t seq = b->event->seq;
    size_t n;
    cs_log(CS_LOG_ERROR, CS_SUBMIT_REPLAYED, "kid=%s number=%" PRId64 " watermark=%" PRId64, s->kid, seq,
           b->end.watermark);
    if (!cs_settle_sign_again(s, b->spool, s->deadline_ms, &seq, 1, b->end.watermark, b->event, &n, err) ||
        !publish(b, err))
        return false;
    (void)watch_instead(b); // the API may keep giving the first outcome of this id
    return true;
}

static void pause_ms(long ms) {
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L}, NULL);
}

// Asks once. True: keep asking. False: it ended, or asking is of no more use (b->reason).
static bool ask(struct submission *b, int64_t *denied_since) {
    struct cs_session *s = b->session;
    struct cs_err err;
    int64_t left = cs_session_left_ms(s), now = cs_clock_mono_ms(s->clock);
    int64_t wait_s =
        left > ANSWER_MS ? (left - ANSWER_MS) / 1000 : 0; // the answer must come within --timeout, too
    if (b->reason[0] && left < ANSWER_MS)
        return false; // the last answer counts
    cs_end_clear(&b->end);
    if (wait_s > WAIT_MAX_S)
        wait_s = WAIT_MAX_S;
    bool answered =
        b->watch ? cs_outcome_watch_poll(b->watch, b->event->id, b->event->seq, left, &b->end, &err)
                 : cs_end_ask(s, b->event->account, b->event->id, b->event->seq, wait_s, &b->end, &err);
    if (answered) {
        snprintf(b->reason, sizeof b->reason, "%s",
                 b->end.ending == CS_ENDING_PENDING ? "the other account's answer is still to come."
                                                    : "it has not been judged in time.");
        bool open = b->end.ending == CS_ENDING_UNKNOWN || b->end.ending == CS_ENDING_PENDING;
        if (!open)
            b->reason[0] = '\0';
        // An answer that came at once is not the one we wait for: it is an older outcome, or the
        // server does not wait.
        if (open && cs_clock_mono_ms(s->clock) - now < RETRY_PAUSE_MS)
            pause_ms(RETRY_PAUSE_MS);
        return open;
    }
    snprintf(b->reason, sizeof b->reason, "%s", err.msg);
    if (err.kind == CS_ERR_REJECT && watch_instead(b))
        return true;
    if (err.kind == CS_ERR_REJECT) {
        *denied_since = *denied_since ? *denied_since : now;
        b->end.code = err.code;
        snprintf(b->end.code_name, sizeof b->end.code_name, "%s", cs_code_name(err.code));
        if (now - *denied_since > DENIED_GRACE_MS)
            return false;
    } else if (err.kind != CS_ERR_RETRY) {
        return false;
    }
    pause_ms(RETRY_PAUSE_MS);
    return true;
}

static int wait_for_end(struct submission *b) {
    struct cs_session *s = b->session;
    struct cs_err err;
    int64_t denied_since = 0;
    int again = 0;
    while (ask(b, &denied_since) || (b->end.ending == CS_ENDING_REPLAYED && again < SIGN_AGAIN_MAX)) {
        if (b->end.ending == CS_ENDING_REPLAYED) {
            again++;
            if (!sign_again(b, &err)) {
                snprintf(b->reason, sizeof b->reason, "%s", err.msg);
                return say_unknown(b, "spooled");
            }
        }
        if (cs_session_left_ms(b->session) == 0)
            break;
    }
    switch (b->end.ending) {
    case CS_ENDING_APPLIED:
    case CS_ENDING_REJECTED:
        break;
    case CS_ENDING_PENDING:
        return say_unknown(b, "pending");
    case CS_ENDING_UNKNOWN:
    case CS_ENDING_REPLAYED:
        return say_unknown(b, "published");
    }
    cs_interrupt_set(s->interrupt, "judged", b->event, "%s was %s.", b->what,
                     b->end.ending == CS_ENDING_APPLIED ? "applied" : "rejected by the rules");
    if (!cs_spool_remove(b->spool, b->event->seq, &err)) // it will be asked for and removed another time
        cs_log_err(CS_LOG_WARN, "spool file not removed", &err, "event=%s", b->event->id);
    struct cs_settled settled;
    if (!b->watch && !cs_submit_settle(b->session, b->spool, SETTLE_MAX, false, &settled, &err))
        cs_log_err(CS_LOG_INFO, "earlier events not settled", &err, "spool=%s", cs_spool_path(b->spool));
    return b->end.ending == CS_ENDING_APPLIED ? say_applied(b) : say_rejected(b);
}

// Puts the event into the spool. Root has no spool: its events have numbers from the clock, as
// those of certsync-consumer init.
static bool keep(struct submission *b, struct cs_err *err) {
    struct cs_session *s = b->session;
    if (!cs_session_spool(s, &b->spool, err))
        return false;
    if (!b->event->account[0] && !cs_spool_raise(b->spool, cs_clock_wall_ms(s->clock), err))
        return false;
    return cs_spool_add(b->spool, s->crypto, s->key, b->event, err);
}

static int run(struct submission *b) {
    struct cs_err err;
    struct cs_session *s = b->session;
    bool everywhere = !b->event->account[0];
    cs_interrupt_set(s->interrupt, "spooling", b->event,
                     "Whether %s was written to the spool is not known, and it was not published. Look with: "
                     "certsync spool "
                     "list",
                     b->what);
    if (!keep(b, &err))
        return cs_report_failure(s->cli, &err);
    set_spooled(b);
    cs_fault_point("spooled");
    b->earlier = cs_submit_earlier(s, b->spool, b->event->seq);
    bool waits = !b->globals->no_wait;
    bool ok =
        !everywhere || !waits || cs_outcome_watch_new(s->settings, -1, 0, s->deadline_ms, &b->watch, &err);
    if (!ok || !publish(b, &err)) {
        snprintf(b->reason, sizeof b->reason, "%s", err.msg);
        return say_unknown(b, "spooled");
    }
    if (!waits)
        return say_published(b);
    if (!everywhere && !s->settings->api_url[0]) {
        snprintf(b->reason, sizeof b->reason,
                 "no API is configured to ask for its outcome: set api.url, or use --no-wait.");
        return say_unknown(b, "published");
    }
    return wait_for_end(b);
}

int cs_submit(struct cs_session *s, struct cs_composed *c, const char *what) {
    CS_AUTO(cs_composed_free) struct cs_composed *composed = c;
    CS_AUTO(submission_clear)
    struct submission b = {.session = s,
                           .globals = s->globals,
                           .event = &composed->event,
                           .what = what,
                           .notes = composed->notes,
                           .partition = -1,
                           .offset = PLACES_UNKNOWN};
    say_notes(&b);
    if (s->globals->dry_run)
        return say_dry_run(&b);
    return run(&b);
}
