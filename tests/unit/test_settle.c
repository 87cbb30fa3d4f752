// SPDX-License-Identifier: Apache-2.0
// How published events leave the spool, over a real spool; what the API would say is written down here.
#include "agent_fixture.h"
#include "certsync/runtime/clock.h"
#include "event/settle.h"

#define WATERMARK 500

struct answers {
    enum cs_ending of[16]; // by number
    int64_t asked[16], ended[16];
    size_t asked_n, ended_n, replayed_calls;
    size_t max;
    bool fails_at_last;
};

static bool ask(struct cs_settle *t, const struct cs_spool_entry *e, struct cs_end *ret, struct cs_err *err) {
    struct answers *a = t->arg;
    a->asked[a->asked_n++] = e->item.seq;
    if (a->fails_at_last && t->loaded == t->published)
        return cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE, "the API is away");
    *ret = (struct cs_end){.ending = a->of[e->item.seq]};
    if (ret->ending == CS_ENDING_REPLAYED)
        ret->watermark = WATERMARK;
    return true;
}

static bool go_on(const struct cs_settle *t) {
    return t->loaded < ((const struct answers *)t->arg)->max;
}

static void on_end(struct cs_settle *t, const struct cs_event *ev, const struct cs_end *end) {
    struct answers *a = t->arg;
    assert_int_equal(end->ending, a->of[ev->seq]);
    a->ended[a->ended_n++] = ev->seq;
}

static void on_replayed(const struct cs_settle *t) {
    ((struct answers *)t->arg)->replayed_calls++;
}

static const struct cs_settle_policy command = {true, false, go_on, ask, on_end, on_replayed};
static const struct cs_settle_policy daemon_policy = {false, false, go_on, ask, on_end, on_replayed};

struct bed {
    struct agent_fixture *f;
    struct cs_session session;
    struct cs_spool *spool;
    struct answers answers;
};

static int setup(void **state) {
    struct bed *b = calloc(1, sizeof *b);
    b->f = agent_fixture_new();
    b->spool = agent_spool(b->f);
    b->session = (struct cs_session){.crypto = b->f->crypto, .key = b->f->key, .clock = cs_clock_real()};
    b->answers.max = SIZE_MAX;
    *state = b;
    return 0;
}

static int teardown(void **state) {
    struct bed *b = *state;
    cs_spool_free(b->spool);
    agent_fixture_free(b->f);
    free(b);
    return 0;
}

static int64_t add(struct bed *b, const char *account, bool sent) {
    struct cs_err err;
    struct cs_composed *c = agent_event(b->f, account);
    ASSERT_OK(cs_spool_add(b->spool, b->f->crypto, b->f->key, &c->event, &err), err);
    int64_t seq = c->event.seq;
    cs_composed_free(c);
    if (sent)
        ASSERT_OK(cs_spool_sent(b->spool, seq, account[0] ? 0 : -1, 7, &err), err);
    return seq;
}

static struct cs_settle settle_of(struct bed *b, const struct cs_settle_policy *policy) {
    return (struct cs_settle){.session = &b->session,
                              .spool = b->spool,
                              .policy = policy,
                              .arg = &b->answers,
                              .lock_deadline_ms = INT64_MAX};
}

// What is in the spool: "3.new 4.sent".
static void assert_spool(struct bed *b, const char *expected) {
    struct cs_err err;
    struct cs_spool_item *items;
    size_t n, len = 0;
    char text[256] = "";
    ASSERT_OK(cs_spool_list(b->spool, &items, &n, &err), err);
    for (size_t i = 0; i < n; i++)
        len += (size_t)snprintf(text + len, sizeof text - len, "%s%lld.%s", i ? " " : "",
                                (long long)items[i].seq, items[i].state == CS_SPOOL_NEW ? "new" : "sent");
    free(items);
    assert_string_equal(text, expected);
}

static void what_ended_leaves_and_what_is_open_stays(void **state) {
    struct bed *b = *state;
    struct cs_err err;
    static const enum cs_ending of[] = {
        0, CS_ENDING_APPLIED, CS_ENDING_UNKNOWN, CS_ENDING_REJECTED, CS_ENDING_PENDING, CS_ENDING_UNKNOWN};
    for (int i = 1; i <= 5; i++) {
        add(b, "acme", true);
        b->answers.of[i] = of[i];
    }
    add(b, "acme", false); // not published: not asked for
    struct cs_settle t = settle_of(b, &command);
    ASSERT_OK(cs_settle_pass(&t, &err), err);
    assert_spool(b, "2.sent 4.sent 5.sent 6.new");
    assert_int_equal(t.applied, 1);
    assert_int_equal(t.rejected, 1);
    assert_int_equal(t.pending, 1);
    assert_int_equal(t.unknown, 1); // since the last that ended
    assert_int_equal(t.removed, 2);
    assert_int_equal(t.resigned, 0);
    assert_int_equal(b->answers.asked_n, 5);
    assert_int_equal(b->answers.ended_n, 2);
    assert_int_equal(b->answers.replayed_calls, 0);
}

static void replayed_ones_and_the_unpublished_rise_above_the_watermark(void **state) {
    struct bed *b = *state;
    struct cs_err err;
    for (int i = 0; i < 3; i++)
        add(b, "acme", true);
    add(b, "acme", false);
    b->answers.of[1] = b->answers.of[3] = CS_ENDING_REPLAYED;
    b->answers.of[2] = CS_ENDING_UNKNOWN;
    struct cs_settle t = settle_of(b, &daemon_policy);
    ASSERT_OK(cs_settle_pass(&t, &err), err);
    assert_spool(b, "2.sent 501.new 502.new 503.new");
    assert_int_equal(t.replayed, 2);
    assert_int_equal(t.resigned, 3);
    assert_int_equal(t.watermark, WATERMARK);
    assert_int_equal(b->answers.replayed_calls, 1);
}

// A command waits for its own event while the daemon settles: it takes the new number, or says who has it.
static void a_command_follows_its_own_event(void **state) {
    struct bed *b = *state;
    struct cs_err err;
    struct cs_composed *c = agent_event(b->f, "acme");
    ASSERT_OK(cs_spool_add(b->spool, b->f->crypto, b->f->key, &c->event, &err), err);
    ASSERT_OK(cs_spool_sent(b->spool, 1, 0, 7, &err), err);
    int64_t seq = 1;
    size_t n;
    ASSERT_OK(cs_settle_sign_again(&b->session, b->spool, INT64_MAX, &seq, 1, WATERMARK, &c->event, &n, &err),
              err);
    assert_int_equal(c->event.seq, WATERMARK + 1);
    assert_int_equal(n, 1);
    ASSERT_OK(cs_spool_remove(b->spool, WATERMARK + 1, &err), err);
    seq = WATERMARK + 1;
    assert_false(cs_settle_sign_again(&b->session, b->spool, INT64_MAX, &seq, 1, 900, &c->event, &n, &err));
    assert_int_equal(err.kind, CS_ERR_RETRY);
    cs_composed_free(c);
}

static void events_for_every_partition(void **state) {
    struct bed *b = *state;
    struct cs_err err;
    add(b, "", true);
    struct cs_settle t = settle_of(b, &daemon_policy);
    ASSERT_OK(cs_settle_pass(&t, &err), err);
    assert_spool(b, "1.sent");
    b->answers.asked_n = 0;
    t = settle_of(b, &command);
    ASSERT_OK(cs_settle_pass(&t, &err), err);
    assert_spool(b, "");
    assert_int_equal(b->answers.asked_n, 0);
}

static void where_it_begins_and_where_it_stops(void **state) {
    struct bed *b = *state;
    struct cs_err err;
    for (int i = 1; i <= 4; i++) {
        add(b, "acme", true);
        b->answers.of[i] = CS_ENDING_APPLIED;
    }
    b->answers.max = 2;
    struct cs_settle t = settle_of(b, &command);
    t.first = 3;
    ASSERT_OK(cs_settle_pass(&t, &err), err);
    assert_spool(b, "2.sent 3.sent");
    b->answers.max = SIZE_MAX;
    b->answers.fails_at_last = true;
    t = settle_of(b, &command);
    assert_false(cs_settle_pass(&t, &err));
    assert_int_equal(err.kind, CS_ERR_RETRY);
    assert_int_equal(t.applied, 1); // what was counted stands
    assert_spool(b, "3.sent");
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(what_ended_leaves_and_what_is_open_stays),
        T(replayed_ones_and_the_unpublished_rise_above_the_watermark),
        T(a_command_follows_its_own_event),
        T(events_for_every_partition),
        T(where_it_begins_and_where_it_stops),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
