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

static void a_command_that_publishes_is_no_trouble_for_a_minute(void **state) {
    const struct agent_fixture *f = *state;
    struct cs_err err;
    struct cs_clock_fake clock;
    cs_clock_fake_init(&clock, 1795000000000);
    struct cs_agent_settings *set = settings(f);
    struct cs_spool *command = agent_spool(f);
    agent_add(f, command, "acme", NULL);
    ASSERT_OK(cs_spool_publish_lock(command, &clock.clock, 0, &err), err);

    struct cs_session session = {.settings = set, .clock = &clock.clock, .key = f->key};
    memcpy(session.kid, f->kid, sizeof session.kid);
    const struct cs_sender_hooks hooks = {0};
    struct cs_sender *s;
    struct cs_link link;
    ASSERT_OK(cs_sender_new(&session, &hooks, &s, &err), err);
    int64_t silent = until_told(s, &clock, &link);
    assert_true(silent >= 60000);
    assert_false(link.ok);
    assert_non_null(strstr(link.error, "another command of this key"));

    cs_sender_free(s);
    cs_spool_free(command);
    cs_settings_free(&cs_agent_settings_table, set);
}

// A spool in which nothing waits says nothing of Kafka either: it was not asked.
static void a_command_that_ends_in_time_was_no_trouble(void **state) {
    const struct agent_fixture *f = *state;
    struct cs_err err;
    struct cs_clock_fake clock;
    cs_clock_fake_init(&clock, 1795000000000);
    struct cs_agent_settings *set = settings(f);
    struct cs_spool *command = agent_spool(f);
    agent_add(f, command, "acme", NULL);
    ASSERT_OK(cs_spool_publish_lock(command, &clock.clock, 0, &err), err);

    struct cs_session session = {.settings = set, .clock = &clock.clock, .key = f->key};
    memcpy(session.kid, f->kid, sizeof session.kid);
    const struct cs_sender_hooks hooks = {0};
    struct cs_sender *s;
    struct cs_link link;
    ASSERT_OK(cs_sender_new(&session, &hooks, &s, &err), err);
    cs_clock_fake_advance(&clock, 6000); // beyond the sender's first patience
    cs_spool_publish_unlock(command);
    until_told(s, &clock, &link); // now by Kafka itself, which is not there
    assert_false(link.ok);
    assert_null(strstr(link.error, "another command of this key"));

    cs_sender_free(s);
    cs_spool_free(command);
    cs_settings_free(&cs_agent_settings_table, set);
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
