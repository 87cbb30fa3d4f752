// SPDX-License-Identifier: Apache-2.0
// The program certsync as a user runs it: exit codes and what it says, with librdkafka's mock cluster as the
// broker and an API that answers by script.
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent_api.h"
#include "certsync/model/pem.h"
#include "certsync/runtime/cli.h"
#include "certsync/runtime/fileio.h"
#include "event/options.h"

static struct agent_fixture *fixture;
static struct agent_api api;
static rd_kafka_t *rk;
static rd_kafka_mock_cluster_t *cluster;
static char output[65536]; // both streams of the last command
static int spools;

// Runs certsync with these arguments (a shell line) and a spool of its own; returns the exit code.
static int run(const char *arguments, int timeout_s) {
    char line[4 * PATH_MAX];
    snprintf(line, sizeof line,
             "cd '%s' && exec %s --config certsync.conf --set agent.spool='%s/spool%d' --timeout %d %s 2>&1 "
             "</dev/null",
             fixture->dir, CERTSYNC_BINARY, fixture->dir, spools, timeout_s, arguments);
    FILE *p = popen(line, "r");
    assert_non_null(p);
    size_t n = fread(output, 1, sizeof output - 1, p);
    output[n] = '\0';
    int status = pclose(p);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

// What ends by itself has the time that a busy machine takes.
static int patience_s(int code) {
    return code == CS_EXIT_UNKNOWN ? 2 : 30;
}

static void expect(int code, const char *arguments, const char *says) {
    int got = run(arguments, patience_s(code));
    if (got != code)
        fail_msg("certsync %s: exit code %d, wanted %d:\n%s", arguments, got, code, output);
    if (!strstr(output, says))
        fail_msg("certsync %s: wanted \"%s\" in:\n%s", arguments, says, output);
    assert_null(strchr(output, '\x1b')); // what others wrote never reaches the terminal as it is
    assert_null(strstr(output, "BEGIN PRIVATE KEY"));
    if (code == 0 && strstr(output, "perhaps a key"))
        fail_msg("certsync %s: masks what it was asked for:\n%s", arguments, output);
}

static void new_spool(void) {
    spools++;
    atomic_store(&api.asked, 0);
}

#define SHARE " share " AGENT_API_ID " --to other --account "

static void what_was_judged_gives_zero_or_one(void **state) {
    (void)state;
    static const struct {
        const char *account;
        int code;
        const char *says;
    } rows[] = {
        {"applied", 0, "applied: share of"}, {"unchanged", 0, "unchanged: "},
        {"later", 0, "applied: "},           {"rejected", 1, "code: name.taken"},
        {"refused", 1, "code: share.owner"}, {"newer", 1, "code: some.new_code"},
    };
    for (size_t i = 0; i < CS_ARRAY_LEN(rows); i++) {
        char line[256];
        new_spool();
        snprintf(line, sizeof line, SHARE "%s", rows[i].account);
        expect(rows[i].code, line, rows[i].says);
        expect(0, "spool list", "the spool is empty"); // its outcome is known
    }
    assert_int_equal(atomic_load(&api.bad_tokens), 0);
}

static void what_is_not_known_in_time_gives_three_and_stays(void **state) {
    (void)state;
    static const struct {
        const char *account, *says;
    } rows[] = {
        {"pending", "still to come"},
        {"silent", "not been judged"},
        {"broken", "Redis is away"},
        {"denied", "event.unknown_signer"},
        {"nonsense", "is not certsync-consumer's API"},
    };
    for (size_t i = 0; i < CS_ARRAY_LEN(rows); i++) {
        char line[256];
        new_spool();
        snprintf(line, sizeof line, SHARE "%s", rows[i].account);
        expect(3, line, rows[i].says);
        expect(0, "spool list", "certificate.share");
    }
    new_spool();
    expect(3, SHARE "applied --set kafka.brokers=127.0.0.1:1", "certsync spool flush");
    expect(0, "spool list", "to be published");
    expect(0, "spool flush", "published 1; outcomes: 1 applied"); // the brokers are back
    expect(0, "spool list", "empty");
    new_spool();
    expect(3, SHARE "applied --set deployment.id=unit_0a1b2c3d --set api.url=", "api.url");
    expect(3, SHARE "applied --set api.url=http://127.0.0.1:1", "does not answer");
    expect(0, SHARE "applied", "applied: ");
    expect(0, "spool list", "empty"); // the earlier two were asked for by the way
}

static void no_wait_is_done_when_kafka_has_it(void **state) {
    (void)state;
    new_spool();
    expect(0, SHARE "silent --no-wait", "published: ");
    expect(0, "spool list", "published");
    assert_int_equal(atomic_load(&api.asked), 0);
    assert_int_equal(run("-q" SHARE "silent --no-wait", 30), 0);
    assert_string_equal(output, "");
    expect(3, "spool flush", "left in the spool: 2");
}

static void a_replayed_number_is_signed_again_above_the_watermark(void **state) {
    (void)state;
    new_spool();
    expect(0, SHARE "replayed --json", "\"seq\":1001");
    assert_non_null(strstr(output, "restored or its key is on another host"));
    expect(0, SHARE "applied --json", "\"seq\":1002");
}

static void json_is_one_object(void **state) {
    (void)state;
    static const struct {
        const char *line;
        int code;
        const char *member, *value;
    } rows[] = {
        {SHARE "applied --json", 0, "status", "applied"},
        {SHARE "rejected --json", 1, "code", "name.taken"},
        {SHARE "pending --json", 3, "status", "pending"},
        {SHARE "applied --json --no-wait", 0, "status", "published"},
        {SHARE "applied --json --dry-run", 0, "status", "dry-run"},
        {SHARE "other --json", 4, "code", "share.self"},
        {SHARE "applied --json --set deployment.id=", 2, "status", "error"},
        {"show nope --account applied --json", 5, "code", "certificate.not_found"},
    };
    for (size_t i = 0; i < CS_ARRAY_LEN(rows); i++) {
        char line[512];
        new_spool();
        snprintf(line, sizeof line, "%s 2>/dev/null", rows[i].line);
        int code = run(line, patience_s(rows[i].code));
        json_t *o = json_loads(output, JSON_REJECT_DUPLICATES, NULL);
        if (!json_is_object(o) || code != rows[i].code)
            fail_msg("%s: exit code %d: %s", rows[i].line, code, output);
        const char *got = json_string_value(json_object_get(o, rows[i].member));
        assert_non_null(got);
        assert_string_equal(got, rows[i].value);
        json_decref(o);
    }
}

static void usage_and_settings_give_two(void **state) {
    (void)state;
    static const struct {
        const char *line, *says;
    } rows[] = {
        {"", "a command is missing"},
        {"uplaod x", "upload"},
        {"upload", "NAME is missing"},
        {"upload www", "--cert FILE is missing"},
        {"upload www --cert -  --key-file -", "only one of the files"},
        {"upload www --cert a --sign-cert b", "--algorithm sm2"},
        {"upload www --cert a --algorithm sm2", "--sign-cert"},
        {"upload www --cert a --force", "--replace"},
        {"share x --account acme", "--to is missing"},
        {"share x --to 'A B' --account acme", "not an account id"},
        {"delete x --from acme --cascade", "--cascade"},
        {"account register acme --site mars --owner o", "cn, intl"},
        {"account register acme --site cn --owner 'o o'", "no blanks"},
        {"account update acme", "nothing to change"},
        {"account update acme --verified --unverified", "exclude"},
        {"agent enroll --account acme --public-key agent.key --can fly", "--can"},
        {"agent enroll --account acme --public-key agent.key --can enroll", "join tokens"},
        {"agent enroll --account acme --public-key agent.key --names 'a b'", "pattern"},
        {"agent revoke --account acme xyz", "not a key id"},
        {"trust remove --role admin xyz", "not a key id"},
        {"keys check --custodian-key custodian.key --account acme", "or --all"},
        {"keys check www --custodian-key agent.key --account acme", "X25519"},
        {"outcomes nope --account acme", "not an event id"},
        {"spool drop x", "not a number"},
        {"spool drop 5", "holds no event"},
        {"list", "--account ID"},
        {"list --account 'A'", "not an account id"},
        {"list --account acme --set agent.key=missing.key", "certsync keygen"},
        {"list --account acme --set agent.key=open.key", "chmod 600"},
        {"list --account acme --set agent.key=custodian.key", "P-256"},
        {"list --account acme --set api.url=ftp://x", "http"},
        {"list --account acme --set api.url=", "api.url"},
        {"list --account acme --set kafka.borkers=x", "kafka.brokers"},
        {"--set agent.custodian=agent.pub csr create x --subject y --out z --account acme",
         "not a custodian's key"},
        {"--set agent.custodian= csr create x --subject y --out z --account acme",
         "CERTSYNC_AGENT_CUSTODIAN"},
        {"keygen --out agent.key", "exists"},
        {"--config nope.conf list", "nope.conf"},
    };
    for (size_t i = 0; i < CS_ARRAY_LEN(rows); i++)
        expect(2, rows[i].line, rows[i].says);
}

static void what_the_host_refuses_gives_four(void **state) {
    (void)state;
    new_spool();
    expect(4,
           "upload 'w w' --cert " CERTSYNC_TEST_CERTS "/p256.pem --key-file " CERTSYNC_TEST_CERTS
           "/p256.key --account acme",
           "code: name.invalid");
    expect(4,
           "upload www --cert " CERTSYNC_TEST_CERTS "/p256.pem --key-file " CERTSYNC_TEST_CERTS
           "/other.key --account acme",
           "openssl rsa");
    expect(4,
           "upload www --cert " CERTSYNC_TEST_CERTS "/p256.pem --key-file " CERTSYNC_TEST_CERTS
           "/rsa.legacy --account acme",
           "openssl pkey");
    expect(4, "upload www --cert " CERTSYNC_TEST_CERTS "/p256.pem --account acme", "code: key.missing");
    expect(4,
           "upload www --csr --cert " CERTSYNC_TEST_CERTS "/p256.pem --key-file " CERTSYNC_TEST_CERTS
           "/p256.key --account acme",
           "code: key.many");
    expect(4, "upload www --cert nope.pem --key-file nope.key --account acme", "nope.pem");
    expect(4, "upload www --cert . --key-file nope.key --account acme", "directory");
    expect(4, SHARE "other", "code: share.self");
    expect(4, "csr create 'a b' --subject x --out r.csr --account acme", "code: name.invalid");
    expect(0, "spool list", "the spool is empty");
    expect(0,
           "--dry-run upload www --cert " CERTSYNC_TEST_CERTS
           "/p256.fullchain --key-file " CERTSYNC_TEST_CERTS "/p256.key --account acme",
           "dry run");
    expect(0, "spool list", "the spool is empty");
    assert_int_equal(atomic_load(&api.asked), 0);
}

static void dry_run_needs_no_settings(void **state) {
    (void)state;
    expect(0,
           "--config empty.conf --set agent.key=/nonexistent --dry-run upload www --cert " CERTSYNC_TEST_CERTS
           "/p256.fullchain --key-file " CERTSYNC_TEST_CERTS "/p256.key",
           "dry run");
}

static void lists_are_tables_and_pages(void **state) {
    (void)state;
    expect(0, "list --account acme", "--page-all");
    assert_non_null(strstr(output, "RSA-2048"));
    assert_non_null(strstr(output, "+3")); // names that are not listed
    expect(0, "list --account acme --page-all", "zzz");
    assert_null(strstr(output, "There are more"));
    assert_int_equal(run("list --account acme --page-all --json 2>/dev/null", 30), 0);
    json_t *o = json_loads(output, 0, NULL);
    assert_int_equal(json_array_size(json_object_get(o, "certificates")), 2);
    assert_null(json_object_get(o, "next"));
    json_decref(o);
    new_spool();
    expect(0, "delete www --account applied", "applied: delete");
    expect(5, "delete nope --account applied", "code: certificate.not_found");
    expect(0, "show www --account acme", AGENT_API_ID);
    expect(0, "show www --account acme", AGENT_API_SERIAL);
}

// What a person copies from a page's last line into the next command.
static const char *printed_cursor(void) {
    static char cursor[4096];
    const char *at = strstr(output, "--cursor ");
    assert_non_null(at);
    assert_int_equal(sscanf(at, "--cursor %4095s", cursor), 1);
    return cursor;
}

static void a_printed_cursor_is_the_next_page(void **state) {
    (void)state;
    char line[8192];
    expect(0, "outcomes --account acme", "first");
    snprintf(line, sizeof line, "outcomes --account acme --cursor %s", printed_cursor());
    expect(0, line, "There are more");
    assert_null(strstr(output, "no outcomes"));
    snprintf(line, sizeof line, "outcomes --account acme --cursor %s", printed_cursor());
    expect(0, line, "third");
    assert_null(strstr(output, "There are more"));
    expect(0, "outcomes --account acme --page-all", "third");
    assert_non_null(strstr(output, "first"));
    expect(0, "list --account acme --page-all", "zzz");
    expect(0, "list --account acme", "www");
    snprintf(line, sizeof line, "list --account acme --cursor %s", printed_cursor());
    expect(0, line, "zzz");
}

static void a_join_token_is_written_for_its_owner_alone(void **state) {
    (void)state;
    struct stat st;
    char path[PATH_MAX], line[256];
    static const struct {
        const char *account;
        int code;
        bool stays;
    } rows[] = {{"applied", 0, true}, {"silent", 3, true}, {"rejected", 1, false}};
    for (size_t i = 0; i < CS_ARRAY_LEN(rows); i++) {
        new_spool();
        snprintf(line, sizeof line, "agent token --account %s --out %s.token", rows[i].account,
                 rows[i].account);
        snprintf(path, sizeof path, "%s/%s.token", fixture->dir, rows[i].account);
        expect(rows[i].code, line, "join token");
        assert_int_equal(stat(path, &st) == 0, rows[i].stays);
        if (rows[i].stays)
            assert_int_equal(st.st_mode & 07777, 0600);
        assert_null(strstr(output, "certsync1."));
    }
    expect(2, "agent token --account applied --out applied.token", "exists already");
    expect(0, "spool list", "empty"); // nothing was sent for it
    mode_t before = umask(022);
    assert_int_equal(run("agent token --account applied >open.token", 30),
                     0); // and what it says goes there, too
    umask(before);
    snprintf(path, sizeof path, "%s/open.token", fixture->dir);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    output[fread(output, 1, sizeof output - 1, f)] = '\0';
    fclose(f);
    assert_non_null(strstr(output, "others can read, and the token is a secret"));
}

static void what_is_not_set_up_names_its_file(void **state) {
    (void)state;
    char line[2 * PATH_MAX], says[PATH_MAX + 64];
    expect(2, "list --account acme --set agent.key=/nowhere/agent.key",
           "agent.key: /nowhere/agent.key: the directory does not exist");
    expect(2, "list --account acme --set agent.key=absent.key",
           "make one with: certsync keygen --out absent.key");
    expect(2,
           "csr create x --account acme --subject CN=x.example.com --out x.csr --set "
           "agent.custodian=/nowhere/custodian.pub",
           "it is the public key that certsync keygen --type custodian wrote");
    expect(2, "list --account acme --set deployment.id=",
           "into the settings file certsync.conf, or set CERTSYNC_DEPLOYMENT_ID");
    // Without any: the one that is looked for.
    snprintf(line, sizeof line, "cd '%s' && HOME='%s' %s list 2>&1", fixture->dir, fixture->dir,
             CERTSYNC_BINARY);
    snprintf(says, sizeof says, "put id = NAME under [deployment] into the settings file %s/certsync.conf",
             CERTSYNC_ETC);
    FILE *p = popen(line, "r");
    assert_non_null(p);
    output[fread(output, 1, sizeof output - 1, p)] = '\0';
    assert_int_equal(WEXITSTATUS(pclose(p)), CS_EXIT_USAGE);
    if (!strstr(output, says) && access(CERTSYNC_ETC "/certsync.conf", F_OK) != 0)
        fail_msg("wanted \"%s\" in: %s", says, output);
}

static void a_request_leaves_files_and_its_key_only_where_asked(void **state) {
    struct stat st;
    char path[PATH_MAX + 16];
    (void)state;
    new_spool();
    expect(0,
           "csr create req --subject /O=Example/CN=www.example.com --dns www.example.com --out r1.csr "
           "--account applied",
           "applied: ");
    expect(0,
           "csr create req --subject www.example.com --key-type rsa2048 --out r2.csr --key-out r2.key "
           "--account applied",
           "applied: ");
    snprintf(path, sizeof path, "%s/r2.key", fixture->dir);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    expect(2, "csr create req --subject www.example.com --out r1.csr --account applied", "exists");
    expect(0, "csr add req --csr-file r2.csr --key-file r2.key --account applied", "applied: ");
}

static void the_tree_of_commands_is_sound(void **state) {
    struct cs_agent_commands commands;
    struct cs_err err;
    (void)state;
    cs_agent_commands_init(&commands);
    ASSERT_OK(cs_cli_check(&commands.root, &err), err);
    expect(0, "--help", "Exit codes");
    expect(0, "upload --help", "--key-file");
    expect(0, "codes --markdown", "| `key.mismatch` | host, consumer |");
    expect(0, "settings --markdown", "agent.custodian");
    expect(0, "settings --example", "[agent]");
    expect(0, "settings", "deployment");
    expect(0, "--version", "certsync ");
}

// --- the stage -----------------------------------------------------------------------------------------

static void write_file(const char *name, const char *text, mode_t mode) {
    struct cs_err err;
    char path[PATH_MAX + 64];
    snprintf(path, sizeof path, "%s/%s", fixture->dir, name);
    ASSERT_OK(cs_file_write(path, (struct cs_bytes){(const uint8_t *)text, strlen(text)}, mode, &err), err);
}

static void write_key(const char *name, const struct cs_privkey *key, mode_t mode) {
    struct cs_err err;
    uint8_t *pem;
    size_t len;
    char text[4096];
    ASSERT_OK(cs_privkey_to_pem(key, &pem, &len, &err), err);
    snprintf(text, sizeof text, "%.*s", (int)len, (const char *)pem);
    cs_secure_free(pem, len);
    write_file(name, text, mode);
}

static void write_keys(void) {
    struct cs_err err;
    struct cs_privkey *custodian;
    uint8_t *spki;
    size_t len;
    char *pem;
    write_key("agent.key", fixture->key, 0600);
    write_key("open.key", fixture->key, 0644);
    ASSERT_OK(cs_spki_to_pem((struct cs_bytes){fixture->spki, fixture->spki_len}, &pem, &err), err);
    assert_true(fixture->spki_len <= sizeof api.spki);
    memcpy(api.spki, fixture->spki, fixture->spki_len);
    api.spki_len = fixture->spki_len;
    snprintf(api.kid, sizeof api.kid, "%s", fixture->kid);
    write_file("agent.pub", pem, 0644);
    free(pem);
    ASSERT_OK(cs_privkey_generate(CS_KEY_X25519, 0, &custodian, &err), err);
    ASSERT_OK(cs_privkey_spki(custodian, &spki, &len, &err), err);
    ASSERT_OK(cs_spki_to_pem((struct cs_bytes){spki, len}, &pem, &err), err);
    write_file("custodian.pub", pem, 0644);
    write_key("custodian.key", custodian, 0600);
    free(pem);
    free(spki);
    cs_privkey_free(custodian);
}

// What this host remembers of its log.
static void expect_known(const char *id) {
    char path[PATH_MAX], text[100] = "";
    snprintf(path, sizeof path, "%s/spool%d/unit.log", fixture->dir, spools);
    FILE *f = fopen(path, "r");
    if (f) {
        assert_non_null(fgets(text, sizeof text, f));
        fclose(f);
    }
    text[strcspn(text, "\n")] = '\0';
    assert_string_equal(text, id);
}

static void another_log_is_an_alarm(void **state) {
    (void)state;
    static const char *const commands[] = {SHARE "applied", "spool flush", "agent token --account applied"};
    new_spool();
    atomic_store(&api.log, 2);
    expect(2, SHARE "applied", "names no log");
    expect(2, SHARE "applied --set api.url=http://127.0.0.1:1", "is not known, and the API cannot be asked");
    expect_known("");
    atomic_store(&api.log, 0);
    expect(2, SHARE "applied --set deployment.id=other", "which is not of deployment other");
    expect(0, SHARE "applied", "applied: share of");
    expect_known("unit_0a1b2c3d");
    // From now on the API may be away, or not say; but it may not say another one.
    expect(3, SHARE "applied --set api.url=http://127.0.0.1:1", "is not known to be applied");
    atomic_store(&api.log, 1);
    int asked = atomic_load(&api.asked);
    for (size_t i = 0; i < CS_ARRAY_LEN(commands); i++)
        expect(2, commands[i],
               "serves log unit_0a1b2c3e, but this host works with log unit_0a1b2c3d, so nothing is sent");
    assert_int_equal(atomic_load(&api.asked), asked);
    expect_known("unit_0a1b2c3d");
    // A person's word counts, and is kept where the API says so, too.
    expect(2, SHARE "applied --set deployment.id=unit_ffffffff",
           "but this host works with log unit_ffffffff");
    expect_known("unit_0a1b2c3d");
    expect(0, SHARE "applied --set deployment.id=unit_0a1b2c3e", "applied: share of");
    expect_known("unit_0a1b2c3e");
    atomic_store(&api.log, 0);
    expect(2, SHARE "applied", "serves log unit_0a1b2c3d, but this host works with log unit_0a1b2c3e");
    // Where nobody can be asked, somebody must say it.
    new_spool();
    expect(2, SHARE "applied --set api.url=", "certsync-consumer init tells it (unit_ and 8 digits)");
    expect(0, SHARE "applied --no-wait --set api.url= --set deployment.id=unit_0a1b2c3d", "published: ");
    expect(2, SHARE "applied --set deployment.id=unit_0a1b", "nor a log's id");
}

static int setup(void **state) {
    char conf[4 * PATH_MAX], reason[256];
    (void)state;
    fixture = agent_fixture_new();
    write_keys();
    agent_api_start(&api);
    rk = rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), reason, sizeof reason);
    assert_non_null(rk);
    cluster = rd_kafka_mock_cluster_new(rk, 1);
    assert_non_null(cluster);
    assert_int_equal(rd_kafka_mock_topic_create(cluster, "cert.events", 4, 1), 0);
    snprintf(conf, sizeof conf,
             "[deployment]\nid = unit\n[kafka]\nbrokers = %s\n[agent]\nkey = %s/agent.key\ncustodian = "
             "%s/custodian.pub\n"
             "[api]\nurl = http://127.0.0.1:%d\ntimeout = 1s\n",
             rd_kafka_mock_cluster_bootstraps(cluster), fixture->dir, fixture->dir,
             cs_http_server_port(api.server));
    write_file("certsync.conf", conf, 0600);
    write_file("empty.conf", "", 0600);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    rd_kafka_mock_cluster_destroy(cluster);
    rd_kafka_destroy(rk);
    agent_api_stop(&api);
    agent_fixture_free(fixture);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_tree_of_commands_is_sound),
        cmocka_unit_test(usage_and_settings_give_two),
        cmocka_unit_test(what_the_host_refuses_gives_four),
        cmocka_unit_test(dry_run_needs_no_settings),
        cmocka_unit_test(what_was_judged_gives_zero_or_one),
        cmocka_unit_test(what_is_not_known_in_time_gives_three_and_stays),
        cmocka_unit_test(no_wait_is_done_when_kafka_has_it),
        cmocka_unit_test(a_replayed_number_is_signed_again_above_the_watermark),
        cmocka_unit_test(json_is_one_object),
        cmocka_unit_test(lists_are_tables_and_pages),
        cmocka_unit_test(a_printed_cursor_is_the_next_page),
        cmocka_unit_test(a_join_token_is_written_for_its_owner_alone),
        cmocka_unit_test(what_is_not_set_up_names_its_file),
        cmocka_unit_test(another_log_is_an_alarm),
        cmocka_unit_test(a_request_leaves_files_and_its_key_only_where_asked),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
