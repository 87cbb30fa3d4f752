// SPDX-License-Identifier: Apache-2.0
#include "commands/explain.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "certsync/base/json_write.h"
#include "certsync/base/text.h"
#include "certsync/model/rules.h"
#include "commands/places.h"
#include "log/find.h"

#define RULE_TYPES_MAX 4096 // bytes of the event types of a rule

static void put_text(struct explain *x, const char *title, struct cs_bytes json) {
    cs_buf_printf(&x->b, "%s", title);
    cs_put_abridged(&x->b, json, 80);
    cs_buf_putc(&x->b, '\n');
}

// The signer as the catalog has it after the record. A record changes its signer only if it revokes
// or rotates its own key; then that shows.
static void put_signer(struct explain *x, const struct cs_event *ev) {
    struct cs_state *state = cs_replay_state(x->op.replay);
    struct cs_bytes doc = {0};
    const char *what = "unknown";
    if (cs_state_get(state, cs_key_trust(CS_NEW_KEY, ev->kid), &doc) == CS_FOUND)
        what = "trusted";
    else if (ev->account[0] &&
             cs_state_get(state, cs_key_agent(CS_NEW_KEY, ev->account, ev->kid), &doc) == CS_FOUND)
        what = "enrolled";
    else
        doc = (struct cs_bytes){0};
    cs_kid root;
    cs_kid_of_spki(x->op.crypto, (struct cs_bytes){x->op.root_spki, x->op.root_spki_len}, root);
    if (strcmp(root, ev->kid) == 0)
        what = "root";
    if (x->json) {
        cs_json_name(&x->b, "signer");
        cs_json_begin(&x->b, '{');
        cs_json_str(&x->b, "kid", ev->kid);
        cs_json_str(&x->b, "is", what);
        if (doc.data) {
            cs_json_name(&x->b, "entry");
            cs_json_put_raw(&x->b, doc);
        }
        cs_json_end(&x->b, '}');
        return;
    }
    cs_buf_printf(&x->b, "signer   %s, %s\n", ev->kid, strcmp(what, "root") == 0 ? "the root key" : what);
    if (doc.data)
        put_text(x, "         ", doc);
}

static void put_verdict(struct explain *x, const struct cs_record *r, const struct cs_replayed *mine) {
    enum cs_code code = mine->outcome.code;
    const struct cs_rule_info *rule = code ? cs_rule_of(code, x->main->type) : NULL;
    CS_AUTO(cs_buf_clear) struct cs_buf types;
    cs_buf_init(&types, RULE_TYPES_MAX);
    if (rule)
        cs_rule_types(rule, &types);
    char time[CS_TIME_MS_TEXT_SIZE];
    cs_time_ms_format(r->timestamp_ms, time);
    if (!x->json) {
        cs_buf_printf(&x->b, "verdict  %s%s%s, judged by the broker's time %s\n",
                      cs_status_name(mine->outcome.status), code ? " " : "", cs_code_name(code), time);
        if (code)
            cs_buf_printf(&x->b, "         %s %s\n", cs_code_sentence(code), cs_code_hint(code));
        if (rule)
            cs_buf_printf(&x->b, "rule     %s (%s; ruleset %d)\n", rule->sentence, (const char *)types.data,
                          (int)rule->since);
        if (x->differs)
            cs_buf_puts(&x->b,
                        "         THE PUBLISHED OUTCOME IS ANOTHER ONE; see: certsync-consumer verify\n");
        put_text(x, "outcome  ", mine->outcome_json);
        return;
    }
    cs_json_name(&x->b, "verdict");
    cs_json_begin(&x->b, '{');
    cs_json_str(&x->b, "status", cs_status_name(mine->outcome.status));
    cs_json_int(&x->b, "time", r->timestamp_ms);
    if (code) {
        cs_json_str(&x->b, "code", cs_code_name(code));
        cs_json_str(&x->b, "sentence", cs_code_sentence(code));
        cs_json_str(&x->b, "hint", cs_code_hint(code));
    }
    if (rule) {
        cs_json_str(&x->b, "rule", rule->sentence);
        cs_json_str(&x->b, "applies_to", (const char *)types.data);
        cs_json_int(&x->b, "ruleset", rule->since);
    }
    cs_json_name(&x->b, "outcome");
    cs_json_put_raw(&x->b, mine->outcome_json);
    cs_json_end(&x->b, '}');
}

static const char *change_name(enum cs_change_kind kind) {
    switch (kind) {
    case CS_CHANGE_PUT:
        return "wrote";
    case CS_CHANGE_DELETE:
        return "deleted";
    case CS_CHANGE_ADD:
        return "added to";
    case CS_CHANGE_REMOVE:
        return "removed from";
    case CS_CHANGE_TRIM:
        return "trimmed";
    }
    return "";
}

static bool sealed(const char *key) {
    return cs_key_is(key, CS_KIND_MATERIAL) || cs_key_is(key, CS_KIND_CSR);
}

// What the whole partition counts is left out, since here only some accounts are judged: issuers, and the queue
// of tombstones. Only the queue takes away a certificate, a request or a share that ended, whichever event comes
// by: that is no change of this event.
static bool is_of_partition(const struct cs_change *c) {
    static const enum cs_kind counted[] = {CS_KIND_ISSUER, CS_KIND_TOMBSTONES, CS_KIND_TOMBSTONE};
    static const enum cs_kind ended[] = {CS_KIND_CERT, CS_KIND_CSR, CS_KIND_SHARE};
    for (size_t i = 0; i < CS_ARRAY_LEN(counted); i++)
        if (cs_key_is(c->key, counted[i]))
            return true;
    for (size_t i = 0; i < CS_ARRAY_LEN(ended); i++)
        if (c->kind == CS_CHANGE_DELETE && cs_key_is(c->key, ended[i]))
            return true;
    return false;
}

static bool count_change(void *arg, const struct cs_change *c) {
    *(size_t *)arg += !is_of_partition(c);
    return true;
}

static bool put_change(void *arg, const struct cs_change *c) {
    struct explain *x = arg;
    if (is_of_partition(c))
        return true;
    bool shows = c->kind == CS_CHANGE_PUT && !sealed(c->key);
    if (!x->json) {
        cs_buf_printf(&x->b, "         %-12s %s%s%s\n", change_name(c->kind), c->key, c->member ? "  " : "",
                      c->member ? c->member : "");
        if (shows)
            put_text(x, "                      ", c->value);
        return true;
    }
    cs_json_begin(&x->b, '{');
    cs_json_str(&x->b, "change", change_name(c->kind));
    cs_json_str(&x->b, "key", c->key);
    if (c->member)
        cs_json_str(&x->b, "member", c->member);
    if (shows) {
        cs_json_name(&x->b, "value");
        cs_json_put_raw(&x->b, c->value);
    }
    cs_json_end(&x->b, '}');
    return true;
}

static void put_derived(struct explain *x, const struct cs_replayed *mine) {
    if (x->json) {
        cs_json_name(&x->b, "emitted");
        cs_json_begin(&x->b, '[');
    }
    for (size_t i = 0; i < mine->derived_len; i++) {
        CS_AUTO(cs_event_free) struct cs_event *ev = NULL;
        struct cs_err ignored;
        if (!cs_event_decode(cs_replay_derived_json(x->op.replay, &mine->derived[i]), &ev, &ignored))
            continue;
        if (!x->json) {
            cs_buf_printf(&x->b, "emitted  %s %s to %s in partition %d\n", cs_event_type_name(ev->type),
                          ev->id, ev->account, (int)mine->derived[i].partition);
            continue;
        }
        cs_json_begin(&x->b, '{');
        cs_json_str(&x->b, "type", cs_event_type_name(ev->type));
        cs_json_str(&x->b, "event", ev->id);
        cs_json_str(&x->b, "account", ev->account);
        cs_json_int(&x->b, "partition", mine->derived[i].partition);
        cs_json_end(&x->b, '}');
    }
    if (x->json)
        cs_json_end(&x->b, ']');
}

static void put_changes(struct explain *x) {
    const struct cs_state *state = cs_replay_state(x->op.replay);
    size_t n = 0;
    (void)cs_state_changes(state, count_change, &n);
    if (x->json) {
        cs_json_name(&x->b, "changes");
        cs_json_begin(&x->b, '[');
    } else {
        cs_buf_printf(&x->b, "changes  %zu\n", n);
    }
    (void)cs_state_changes(state, put_change, x);
    if (x->json)
        cs_json_end(&x->b, ']');
}

void cs_explain_tell(struct explain *x, const struct cs_record *r, const struct cs_event *ev,
                     const struct cs_replayed *mine) {
    cs_buf_reset(&x->b); // a walk may begin again
    if (x->json) {
        cs_json_begin(&x->b, '{');
        cs_put_record_json(&x->b, "record", r);
    } else {
        char time[CS_TIME_MS_TEXT_SIZE];
        cs_time_ms_format(r->timestamp_ms, time);
        cs_buf_printf(&x->b, "event    %s  %s\nrecord   partition %d offset %" PRId64 ", %s\n", x->o->event,
                      cs_event_type_name(x->main->type), (int)r->partition, r->offset, time);
        cs_put_record_text(&x->b, "         ", r);
    }
    put_signer(x, ev);
    put_verdict(x, r, mine);
    put_changes(x);
    put_derived(x, mine);
}

static void put_place(struct explain *x, const struct place *p) {
    char time[CS_TIME_MS_TEXT_SIZE];
    cs_time_ms_format(p->time_ms, time);
    if (!x->json) {
        cs_buf_printf(&x->b, "  %s  %d:%-6" PRId64 " %-32s account %s  %s%s\n", time, (int)p->partition,
                      p->offset, cs_event_type_name(p->type), p->account, p->id,
                      p->main ? "  <- this one" : "");
        if (p->outcome)
            put_text(x, "      ", (struct cs_bytes){(const uint8_t *)p->outcome, strlen(p->outcome)});
        else
            cs_buf_puts(&x->b, "      no outcome yet\n");
        return;
    }
    cs_json_begin(&x->b, '{');
    cs_json_int(&x->b, "partition", p->partition);
    cs_json_int(&x->b, "offset", p->offset);
    cs_json_int(&x->b, "time", p->time_ms);
    cs_json_str(&x->b, "type", cs_event_type_name(p->type));
    cs_json_str(&x->b, "event", p->id);
    cs_json_str(&x->b, "account", p->account);
    if (p->outcome) {
        cs_json_name(&x->b, "outcome");
        cs_json_put_raw(&x->b, (struct cs_bytes){(const uint8_t *)p->outcome, strlen(p->outcome)});
    }
    cs_json_end(&x->b, '}');
}

// All records of the event (it may have been sent twice). For a share, all steps of both ends.
static void put_places(struct explain *x) {
    if (x->json) {
        cs_json_name(&x->b, x->share[0] ? "share" : "records");
        cs_json_begin(&x->b, '[');
    } else if (x->share[0]) {
        cs_buf_printf(&x->b, "share    %s, step by step:\n", x->share);
    } else {
        cs_buf_printf(&x->b, "records  of this event: %zu\n", x->places_len);
    }
    for (size_t i = 0; i < x->places_len; i++)
        put_place(x, &x->places[i]);
    if (x->json)
        cs_json_end(&x->b, ']');
}

static void put_judged(struct explain *x) {
    if (x->json && (x->why_all || x->all_outcomes))
        cs_json_bool(&x->b, "read_all", true);
    if (x->json && x->from > 0)
        cs_json_int(&x->b, "snapshot", x->from);
    else if (x->from > 0)
        cs_buf_printf(&x->b, "judged   from the snapshot of %" PRId64 " outcomes on\n", x->from);
    if (x->json && x->judged > 0)
        cs_json_int(&x->b, "judged", x->judged);
    else if (x->judged > 0)
        cs_buf_printf(&x->b,
                      "judged   %" PRId64 " of the %" PRId64
                      " records up to it: those that its account's catalog rests on\n",
                      x->judged, x->records);
}

bool cs_explain_tell_way(struct explain *x, struct cs_err *err) {
    put_judged(x);
    put_places(x);
    const char *outcome = x->main->outcome;
    if (outcome && !cs_put_set_aside(&x->op, (struct cs_bytes){(const uint8_t *)outcome, strlen(outcome)},
                                     x->json, &x->b, err))
        return false;
    if (x->json)
        cs_json_end(&x->b, '}');
    return true;
}
