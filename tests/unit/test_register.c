// SPDX-License-Identifier: Apache-2.0
//
// What the daemon remembers over restarts, and the text of join tokens.
#include "agent_fixture.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "certsync/model/entry.h"
#include "daemon/register.h"
#include "event/token.h"

struct fixture {
    struct agent_fixture *f;
    char path[PATH_MAX];
    struct cs_section section;
    struct cs_register r;
};

static void reopen(struct fixture *x, const char *kid) {
    struct cs_err err;
    cs_register_close(&x->r);
    ASSERT_OK(cs_register_open(x->path, kid, &x->r, &err), err);
}

static int set_up(void **state) {
    struct fixture *x = calloc(1, sizeof *x);
    x->f = agent_fixture_new();
    x->r.fd = -1;
    snprintf(x->path, sizeof x->path, "%.4000s/register", x->f->dir);
    reopen(x, "kid-1");
    *state = x;
    return 0;
}

static int tear_down(void **state) {
    struct fixture *x = *state;
    cs_register_close(&x->r);
    agent_fixture_free(x->f);
    free(x);
    return 0;
}

static struct cs_item *found(struct fixture *x, const char *certificate, const char *name) {
    struct cs_candidate c = {
        .section = &x->section, .name = name, .certificate = certificate, .key = certificate};
    struct cs_item *item = cs_register_found(&x->r, &c);
    assert_non_null(item);
    return item;
}

static void put(struct fixture *x, const char *certificate, const char *name, enum cs_item_state state,
                enum cs_code code) {
    struct cs_item *item = found(x, certificate, name);
    item->stamp = 0x1234567890abcdef;
    item->content = 42;
    item->not_before_s = 1795000000;
    item->not_after_s = 1796000000;
    item->ends_s = 1795500000;
    memset(item->sha256, 7, sizeof item->sha256);
    cs_register_put(&x->r, item, state, code, code ? "a \"reason\"\n" : NULL, 1795000000123);
}

static off_t size_of(const struct fixture *x) {
    struct stat st;
    assert_int_equal(stat(x->path, &st), 0);
    return st.st_size;
}

// A daemon that runs for years must not fill the disk with what it knew before.
static void test_the_file_does_not_grow_for_ever(void **state) {
    struct fixture *x = *state;
    put(x, "/w/other.crt", "other", CS_ITEM_OLDER, CS_CODE_NONE);
    put(x, "/w/gone.crt", "gone", CS_ITEM_REGISTERED, CS_CODE_NONE);
    cs_register_flush(&x->r);
    off_t few = size_of(x);
    for (int i = 0; i < 5000; i++) {
        put(x, "/w/www.crt", "www", i % 2 ? CS_ITEM_REGISTERED : CS_ITEM_SENT, CS_CODE_NONE);
        if (i == 2500)
            cs_register_drop(&x->r, cs_register_item(&x->r, "/w/gone.crt"));
        if (i % 100 == 0)
            cs_register_flush(&x->r);
        assert_true(size_of(x) < few * 1200);
    }
    reopen(x, "kid-1");
    assert_int_equal(x->r.n, 2);
    assert_int_equal(cs_register_item(&x->r, "/w/www.crt")->state, CS_ITEM_REGISTERED);
    assert_int_equal(cs_register_item(&x->r, "/w/other.crt")->state, CS_ITEM_OLDER);
}

static void test_what_was_concluded_is_remembered(void **state) {
    struct fixture *x = *state;
    struct cs_known *k = cs_register_known(&x->r, "www");
    k->present = true;
    memset(k->sha256, 9, sizeof k->sha256);
    k->not_before_s = 5;
    k->ends_s = 6;
    snprintf(k->id, sizeof k->id, "01a20a9c-6da6-759b-af56-71d585a6a9dc");
    put(x, "/w/www.crt", "www", CS_ITEM_REGISTERED, CS_CODE_NONE);
    put(x, "/w/bad.crt", "bad", CS_ITEM_REJECTED, CS_CODE_EVENT_FORBIDDEN);
    put(x, "/w/late.crt", "late", CS_ITEM_WAITING, CS_CODE_KEY_MISMATCH);
    put(x, "/w/gone.crt", "gone", CS_ITEM_REGISTERED, CS_CODE_NONE);
    cs_register_drop(&x->r, cs_register_item(&x->r, "/w/gone.crt"));
    for (int i = 0; i < 2; i++) { // the second time from the file that was written anew
        reopen(x, "kid-1");
        assert_int_equal(x->r.n, 2);
        const struct cs_item *www = cs_register_item(&x->r, "/w/www.crt"),
                             *bad = cs_register_item(&x->r, "/w/bad.crt");
        assert_int_equal(www->state, CS_ITEM_REGISTERED);
        assert_true(www->stamp == 0x1234567890abcdef && www->content == 42 && www->sha256[31] == 7);
        assert_true(cs_item_ends(www) == 1795500000);
        assert_null(www->section);
        assert_int_equal(bad->state, CS_ITEM_REJECTED);
        assert_int_equal(bad->code, CS_CODE_EVENT_FORBIDDEN);
        assert_string_equal(bad->message, "a \"reason\"\n");
        k = cs_register_known(&x->r, "www");
        assert_true(k->present && k->sha256[0] == 9 && k->not_before_s == 5 && k->ends_s == 6);
        assert_string_equal(k->id, "01a20a9c-6da6-759b-af56-71d585a6a9dc");
    }
}

static void test_another_key_may_do_what_this_one_may_not(void **state) {
    struct fixture *x = *state;
    put(x, "/w/bad.crt", "bad", CS_ITEM_REJECTED, CS_CODE_EVENT_FORBIDDEN);
    reopen(x, "kid-2");
    assert_int_equal(cs_register_item(&x->r, "/w/bad.crt")->state, CS_ITEM_NEW);
    assert_true(cs_register_item(&x->r, "/w/bad.crt")->stamp == 0);
}

static void test_a_half_written_line_costs_only_itself(void **state) {
    struct fixture *x = *state;
    put(x, "/w/a.crt", "a", CS_ITEM_REGISTERED, CS_CODE_NONE);
    int fd = open(x->path, O_WRONLY | O_APPEND);
    assert_true(write(fd, "\n{\"certificate\":\"/w/b.crt\",\"na", 30) == 30);
    close(fd);
    put(x, "/w/c.crt", "c", CS_ITEM_REGISTERED, CS_CODE_NONE);
    reopen(x, "kid-1");
    assert_int_equal(x->r.n, 2);
    assert_non_null(cs_register_item(&x->r, "/w/a.crt"));
    assert_non_null(cs_register_item(&x->r, "/w/c.crt"));
}

static void test_many_items_and_events(void **state) {
    struct fixture *x = *state;
    char path[64], name[32], event[40];
    static const uint8_t hash[32] = {1};
    for (int i = 0; i < 2000; i++) {
        snprintf(path, sizeof path, "/w/%d.crt", i);
        snprintf(name, sizeof name, "n%d", i / 2);
        snprintf(event, sizeof event, "event-%d", i);
        found(x, path, name);
        struct cs_known *k = cs_register_known(&x->r, name);
        cs_register_sent(&x->r, k, event, hash, i, 0);
        assert_ptr_equal(cs_register_by_event(&x->r, event), k);
    }
    assert_null(cs_register_by_event(&x->r, "event-0")); // a newer one of that name followed
    assert_int_equal(x->r.known_n, 1000);
    struct cs_item *first = cs_register_item(&x->r, "/w/0.crt"),
                   *second = cs_register_item(&x->r, "/w/1.crt");
    assert_ptr_equal(cs_register_live(&x->r, "n0", first), second);
    cs_register_drop(&x->r, second);
    assert_null(cs_register_live(&x->r, "n0", first));
    for (int i = 2; i < 2000; i++) {
        snprintf(path, sizeof path, "/w/%d.crt", i);
        cs_register_drop(&x->r, cs_register_item(&x->r, path));
    }
    assert_int_equal(x->r.n, 1);
}

static void test_join_tokens(void **state) {
    struct fixture *x = *state;
    struct cs_err err;
    char text[CS_JOIN_TOKEN_MAX], altered[CS_JOIN_TOKEN_MAX];
    CS_AUTO(cs_join_token_clear)
    struct cs_join_token t = {.log_id = "unit_0a1b2c3d",
                              .account = "acme",
                              .can = CS_CAN_UPLOAD | CS_CAN_READ,
                              .names = "www.*",
                              .expires_s = 1795000000};
    ASSERT_OK(cs_privkey_generate(CS_KEY_P256, 0, &t.key, &err), err);
    ASSERT_OK(cs_join_token_write(&t, text, &err), err);
    assert_int_equal(strcspn(text, "+/= \n"), strlen(text));
    CS_AUTO(cs_join_token_clear) struct cs_join_token back = {0};
    ASSERT_OK(cs_join_token_read(text, &back, &err), err);
    assert_string_equal(back.account, "acme");
    assert_string_equal(back.names, "www.*");
    assert_int_equal(back.can, CS_CAN_UPLOAD | CS_CAN_READ);
    assert_int_equal(back.expires_s, 1795000000);
    uint8_t *a, *b;
    size_t a_len, b_len;
    ASSERT_OK(cs_privkey_spki(t.key, &a, &a_len, &err), err);
    ASSERT_OK(cs_privkey_spki(back.key, &b, &b_len, &err), err);
    assert_memory_equal(a, b, a_len);
    free(a);
    free(b);
    CS_AUTO(cs_join_token_clear) struct cs_join_token none = {0};
    for (size_t cut = 0; cut < strlen(text); cut++) {
        snprintf(altered, cut + 1, "%s", text);
        assert_false(cs_join_token_read(altered, &none, &err));
        assert_int_equal(err.kind, CS_ERR_CONFIG);
    }
    assert_false(cs_join_token_read("certsync1.!!!!", &none, &err));
    (void)x;
}

int main(void) {
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_what_was_concluded_is_remembered),      T(test_another_key_may_do_what_this_one_may_not),
        T(test_a_half_written_line_costs_only_itself), T(test_many_items_and_events),
        T(test_the_file_does_not_grow_for_ever),       T(test_join_tokens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
