// SPDX-License-Identifier: Apache-2.0
//
// What the daemon's sender says of Kafka while a command of the same key publishes.
#include <time.h>

#include "agent_fixture.h"
#include "certsync/runtime/settings.h"
#include "daemon/sender.h"

#define REAL_DEADLINE_MS 30000

static struct cs_agent_settings *settings(const struct agent_fixture *f) {
    struct cs_err err;
    struct cs_settings_override set[] = {{"kafka.brokers", "127.0.0.1:1", "--set"},
                                         {"agent.spool", f->dir, "--set"}};
    const struct cs_settings_source source = {.overrides = set, .override_count = CS_ARRAY_LEN(set)};
    void *values;
    ASSERT_OK(cs_settings_load(&cs_agent_settings_table, &source, &values, &err), err);
    return values;
}

// Lets the sender's time run, a tenth of a second each millisecond, until it has said something of Kafka. How
// long that was for the sender.
static int64_t until_told(struct cs_sender *s, struct cs_clock_fake *clock, struct cs_link *ret) {
    int64_t begin = cs_clock_mono_ms(&clock->clock);
    int64_t deadline = cs_clock_mono_ms(cs_clock_real()) + REAL_DEADLINE_MS;
    for (;;) {
        cs_sender_link(s, ret);
        if (ret->tried)
            return cs_clock_mono_ms(&clock->clock) - begin;
        if (cs_clock_mono_ms(cs_clock_real()) >= deadline)
            fail_msg("the sender said nothing of Kafka");
        cs_clock_fake_advance(clock, 100);
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
}

// A sender, and a command of the same key that publishes: it holds the lock.
struct both {
    struct cs_clock_fake clock;
    struct cs_agent_settings *settings;
    struct cs_spool *command;
    struct cs_session session;
    struct cs_sender *sender;
};

static void begin(const struct agent_fixture *f, struct both *b) {
    static const struct cs_sender_hooks hooks;
    struct cs_err err;
    *b = (struct both){.settings = settings(f), .command = agent_spool(f)};
    cs_clock_fake_init(&b->clock, 1795000000000);
    agent_add(f, b->command, "acme", NULL);
    ASSERT_OK(cs_spool_publish_lock(b->command, &b->clock.clock, 0, &err), err);
    b->session = (struct cs_session){.settings = b->settings, .clock = &b->clock.clock, .key = f->key};
    memcpy(b->session.kid, f->kid, sizeof b->session.kid);
    ASSERT_OK(cs_sender_new(&b->session, &hooks, &b->sender, &err), err);
}

static void end(struct both *b) {
    cs_sender_free(b->sender);
    cs_spool_free(b->command);
    cs_settings_free(&cs_agent_settings_table, b->settings);
}

static void a_command_that_publishes_is_no_trouble_for_a_minute(void **state) {
    struct both b;
    struct cs_link link;
    begin(*state, &b);
    int64_t silent = until_told(b.sender, &b.clock, &link);
    assert_true(silent >= 60000);
    assert_false(link.ok);
    assert_non_null(strstr(link.error, "another command of this key"));
    end(&b);
}

static void a_command_that_ends_in_time_was_no_trouble(void **state) {
    struct both b;
    struct cs_link link;
    begin(*state, &b);
    cs_clock_fake_advance(&b.clock, 6000); // beyond the sender's first patience
    cs_spool_publish_unlock(b.command);
    until_told(b.sender, &b.clock, &link); // now by Kafka itself, which is not there
    assert_false(link.ok);
    assert_null(strstr(link.error, "another command of this key"));
    end(&b);
}

static int setup(void **state) {
    *state = agent_fixture_new();
    return 0;
}

static int teardown(void **state) {
    agent_fixture_free(*state);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_command_that_publishes_is_no_trouble_for_a_minute, setup, teardown),
        cmocka_unit_test_setup_teardown(a_command_that_ends_in_time_was_no_trouble, setup, teardown),
    };
    return cmocka_run_group_tests_name("sender", tests, NULL, NULL);
}
