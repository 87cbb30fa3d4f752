// SPDX-License-Identifier: Apache-2.0
//
// Finding certificate files: patterns, sections with their presets, and the one guarded read.
#include "agent_fixture.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "certsync/model/pem.h"
#include "daemon/copies.h"
#include "daemon/pattern.h"
#include "daemon/scan.h"

// --- patterns

static void test_components(void **state) {
    (void)state;
    static const struct {
        const char *pattern, *text, *name; // name NULL: no match
    } rows[] = {
        {"{name}", "www.example.com", "www.example.com"},
        {"{name}", ".hidden", NULL},
        {"{name}.crt", "www.crt", "www"},
        {"{name}.crt", ".crt", NULL},
        {"{name}.crt", "a.crt.crt", "a.crt"},
        {"{name}.crt", "www.key", NULL},
        {"x-{name}_ecc", "x-a_ecc_ecc", "a_ecc"},
        {"*-{name}", "a-b-c", "c"},
        {"{name}", "", NULL},
    };
    for (size_t i = 0; i < CS_ARRAY_LEN(rows); i++) {
        struct cs_match m = {0};
        bool ok = cs_path_pattern_component(rows[i].pattern, strlen(rows[i].pattern), rows[i].text, &m);
        assert_int_equal(ok, rows[i].name != NULL);
        if (ok)
            assert_string_equal(m.name, rows[i].name);
    }
    struct cs_match same = {.has_name = true, .name = "a"};
    assert_true(cs_path_pattern_component("{name}.key", 10, "a.key", &same));
    assert_false(cs_path_pattern_component("{name}.key", 10, "b.key", &same));
    assert_true(cs_path_pattern_leads("/l/{name}/f.pem", "/l/x"));
    assert_true(cs_path_pattern_leads("/l/{name}/f.pem", "/l/x/f.pem"));
    assert_false(cs_path_pattern_leads("/l/{name}/f.pem", "/l/x/f.tmp"));
    assert_false(cs_path_pattern_leads("/l/{name}/f.pem", "/l/x/f.pem/more"));
}

static void test_patterns_that_are_none(void **state) {
    (void)state;
    struct cs_err err;
    static const char *const bad[] = {"relative/{name}", "/a//b", "/a/../b",   "/a/",
                                      "/{host}/x",       "/a}",   "/*/*/*/*/*"};
    for (size_t i = 0; i < CS_ARRAY_LEN(bad); i++) {
        assert_false(cs_path_pattern_check(bad[i], &err));
        assert_int_equal(err.kind, CS_ERR_CONFIG);
    }
    assert_true(cs_path_pattern_check("/a/*/{name}/{name}.crt", &err));
}

// --- a file tree

struct tree {
    struct agent_fixture *f;
    struct cs_guarded buffer;
    struct cs_sections sections;
    struct cs_settings_items items;
    struct cs_watch_settings settings;
    char *keep[32];
    size_t keep_len;
    char found[16][600]; // "name certificate key chain", below the tree
    size_t found_len;
    char directories[64][PATH_MAX];
    size_t directories_len;
    size_t problems;
    const char *known; // a path below the tree that was found before; NULL: none
};

static void path_of(const struct tree *t, const char *rest, char *out) {
    snprintf(out, PATH_MAX, "%s%s%s", t->f->dir, rest[0] ? "/" : "", rest);
}

static void put(const struct tree *t, const char *rest, const char *text) {
    char path[PATH_MAX];
    path_of(t, rest, path);
    for (char *p = path + strlen(t->f->dir) + 1; (p = strchr(p, '/')) != NULL; p++) {
        *p = '\0';
        assert_true(mkdir(path, 0755) == 0 || errno == EEXIST);
        *p = '/';
    }
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    fputs(text, out);
    fclose(out);
}

static void put_link(const struct tree *t, const char *target, const char *rest) {
    char path[PATH_MAX], part[PATH_MAX];
    path_of(t, rest, path);
    snprintf(part, sizeof part, "%s.new", path);
    assert_int_equal(symlink(target, part), 0);
    assert_int_equal(rename(part, path), 0);
}

static int set_up(void **state) {
    struct tree *t = calloc(1, sizeof *t);
    struct cs_err err;
    t->f = agent_fixture_new();
    ASSERT_OK(cs_guarded_init(&t->buffer, &err), err);
    *state = t;
    return 0;
}

static int tear_down(void **state) {
    struct tree *t = *state;
    cs_sections_clear(&t->sections);
    cs_guarded_clear(&t->buffer);
    agent_fixture_free(t->f);
    for (size_t i = 0; i < t->keep_len; i++)
        free(t->keep[i]);
    free(t);
    return 0;
}

static char *text(struct tree *t, const char *rest) {
    char path[PATH_MAX];
    path_of(t, rest, path);
    return t->keep[t->keep_len++] = strdup(path);
}

static struct cs_watch_settings plain(void) {
    static char empty[] = "", name[] = "section";
    return (struct cs_watch_settings){.name = name,
                                      .path = empty,
                                      .certificate = empty,
                                      .key = empty,
                                      .chain = empty,
                                      .encrypt_certificate = empty,
                                      .encrypt_key = empty,
                                      .encrypt_chain = empty,
                                      .combined = empty,
                                      .pairs = empty,
                                      .as = empty,
                                      .links = true,
                                      .max_size = CS_PEM_FILE_MAX};
}

static void make_section(struct tree *t, const struct cs_watch_settings *s) {
    struct cs_err err;
    t->settings = *s;
    t->items = (struct cs_settings_items){&t->settings, 1};
    cs_sections_clear(&t->sections);
    ASSERT_OK(cs_sections_new(&t->items, &t->sections, &err), err);
}

static const char *below(const struct tree *t, const char *path) {
    return !path                                              ? "-"
           : strncmp(path, t->f->dir, strlen(t->f->dir)) == 0 ? path + strlen(t->f->dir) + 1
                                                              : path;
}

static void on_candidate(void *arg, const struct cs_candidate *c) {
    struct tree *t = arg;
    assert_true(t->found_len < CS_ARRAY_LEN(t->found));
    snprintf(t->found[t->found_len++], sizeof t->found[0], "%s %s %s %s", c->name, below(t, c->certificate),
             below(t, c->key), below(t, c->chain));
    if (c->encrypt_certificate) {
        char *line = t->found[t->found_len - 1];
        size_t len = strlen(line);
        snprintf(line + len, sizeof t->found[0] - len, " + %s %s %s", below(t, c->encrypt_certificate),
                 below(t, c->encrypt_key), below(t, c->encrypt_chain));
    }
}

static void on_directory(void *arg, const char *path) {
    struct tree *t = arg;
    assert_true(t->directories_len < CS_ARRAY_LEN(t->directories));
    snprintf(t->directories[t->directories_len++], PATH_MAX, "%s", path);
}

static void on_problem(void *arg, const struct cs_section *s, const struct cs_err *err) {
    struct tree *t = arg;
    assert_non_null(s);
    assert_true(err->msg[0]);
    t->problems++;
}

static bool is_known(void *arg, const char *certificate) {
    const struct tree *t = arg;
    return t->known && strcmp(below(t, certificate), t->known) == 0;
}

static int compare(const void *a, const void *b) {
    return strcmp(a, b);
}

static bool scan(struct tree *t) {
    t->found_len = t->directories_len = t->problems = 0;
    const struct cs_scan_hooks hooks = {.on_candidate = on_candidate,
                                        .on_directory = on_directory,
                                        .is_known = is_known,
                                        .on_problem = on_problem,
                                        .arg = t};
    bool complete = cs_scan_section(&t->sections.items[0], t->f->crypto, &t->buffer, &hooks);
    qsort(t->found, t->found_len, sizeof t->found[0], compare);
    return complete;
}

static void assert_found(const struct tree *t, size_t n, const char *const *lines) {
    for (size_t i = 0; i < n && i < t->found_len; i++)
        assert_string_equal(t->found[i], lines[i]);
    assert_int_equal(t->found_len, n);
}

static bool watches(const struct tree *t, const char *rest) {
    char path[PATH_MAX];
    path_of(t, rest, path);
    for (size_t i = 0; i < t->directories_len; i++)
        if (strcmp(t->directories[i], path) == 0)
            return true;
    return false;
}

// --- presets

static void use_preset(struct tree *t, int64_t preset, const char *path) {
    struct cs_watch_settings s = plain();
    s.preset = preset;
    s.path = text(t, path);
    make_section(t, &s);
}

static void test_certbot(void **state) {
    struct tree *t = *state;
    use_preset(t, 1, "le");
    assert_false(scan(t)); // nothing there yet: that is not "gone"
    assert_true(watches(t, ""));
    put(t, "le/archive/www.example.com/fullchain1.pem", "c");
    put(t, "le/archive/www.example.com/privkey1.pem", "k");
    put(t, "le/live/README", "text");
    put(t, "le/live/www.example.com/README", "text");
    put_link(t, "../../archive/www.example.com/fullchain1.pem", "le/live/www.example.com/fullchain.pem");
    put_link(t, "../../archive/www.example.com/privkey1.pem", "le/live/www.example.com/privkey.pem");
    assert_true(scan(t));
    assert_found(t, 1,
                 (const char *const[]){"www.example.com le/live/www.example.com/fullchain.pem "
                                       "le/live/www.example.com/privkey.pem -"});
    assert_true(watches(t, "le/live"));
    assert_true(watches(t, "le/live/www.example.com"));
    assert_true(cs_scan_concerns(&t->sections.items[0], text(t, "le/live/new.example.com")));
    assert_false(cs_scan_concerns(&t->sections.items[0], text(t, "le/live/www.example.com/README")));
}

static void test_acme_sh(void **state) {
    struct tree *t = *state;
    use_preset(t, 2, "acme");
    put(t, "acme/a.org/fullchain.cer", "c");
    put(t, "acme/a.org/a.org.cer", "c");
    put(t, "acme/a.org/a.org.key", "k");
    put(t, "acme/a.org_ecc/fullchain.cer", "c");
    put(t, "acme/a.org_ecc/a.org.key", "k");
    put(t, "acme/ca/acme-v02/account.key", "k");
    assert_true(scan(t));
    assert_found(t, 2,
                 (const char *const[]){"a.org acme/a.org/fullchain.cer acme/a.org/a.org.key -",
                                       "a.org_ecc acme/a.org_ecc/fullchain.cer acme/a.org_ecc/a.org.key -"});
}

// A wildcard's folder is called as the domain is; "*" has no place in a name of the catalog.
static void test_acme_sh_wildcards(void **state) {
    struct tree *t = *state;
    use_preset(t, 2, "acme");
    put(t, "acme/*.a.org_ecc/fullchain.cer", "c");
    put(t, "acme/*.a.org_ecc/*.a.org.key", "k");
    put(t, "acme/*.a.org/fullchain.cer", "c");
    put(t, "acme/*.a.org/*.a.org.key", "k");
    assert_true(scan(t));
    assert_found(
        t, 2,
        (const char *const[]){"_.a.org acme/*.a.org/fullchain.cer acme/*.a.org/*.a.org.key -",
                              "_.a.org_ecc acme/*.a.org_ecc/fullchain.cer acme/*.a.org_ecc/*.a.org.key -"});
}

static void test_dehydrated(void **state) {
    struct tree *t = *state;
    use_preset(t, 6, "dehydrated");
    put(t, "dehydrated/certs/a.org/fullchain-1.pem", "c");
    put(t, "dehydrated/certs/a.org/privkey-1.pem", "k");
    put_link(t, "fullchain-1.pem", "dehydrated/certs/a.org/fullchain.pem");
    put_link(t, "privkey-1.pem", "dehydrated/certs/a.org/privkey.pem");
    put(t, "dehydrated/accounts/x/account_key.pem", "k");
    assert_true(scan(t));
    assert_found(t, 1,
                 (const char *const[]){
                     "a.org dehydrated/certs/a.org/fullchain.pem dehydrated/certs/a.org/privkey.pem -"});
}

static void test_uacme(void **state) {
    struct tree *t = *state;
    use_preset(t, 7, "uacme");
    put(t, "uacme/private/key.pem", "k");
    put(t, "uacme/private/a.org/key.pem", "k");
    put(t, "uacme/a.org/cert.pem", "c");
    put(t, "uacme/a.org/cert-1700000000.pem", "c");
    assert_true(scan(t));
    assert_found(t, 1, (const char *const[]){"a.org uacme/a.org/cert.pem uacme/private/a.org/key.pem -"});
}

static void test_certmonger(void **state) {
    struct tree *t = *state;
    use_preset(t, 8, "tls");
    put(t, "tls/certs/ca-bundle.crt", "c");
    put(t, "tls/certs/www.crt", "c");
    put(t, "tls/private/www.key", "k");
    put(t, "tls/certs/mail.pem", "c");
    put(t, "tls/private/mail.key", "k");
    assert_true(scan(t));
    assert_int_equal(t->problems, 0);
    assert_found(t, 2,
                 (const char *const[]){"mail tls/certs/mail.pem tls/private/mail.key -",
                                       "www tls/certs/www.crt tls/private/www.key -"});
    put(t, "tls/private/lost.key", "k");
    assert_true(scan(t));
    assert_int_equal(t->problems, 1);
}

static void test_lego(void **state) {
    struct tree *t = *state;
    use_preset(t, 3, "lego");
    put(t, "lego/certificates/_.a.org.crt", "c");
    put(t, "lego/certificates/_.a.org.key", "k");
    put(t, "lego/certificates/_.a.org.issuer.crt", "i");
    put(t, "lego/certificates/_.a.org.json", "{}");
    put(t, "lego/certificates/b.org.crt", "c");
    assert_true(scan(t));
    assert_found(t, 2,
                 (const char *const[]){"_.a.org lego/certificates/_.a.org.crt lego/certificates/_.a.org.key "
                                       "lego/certificates/_.a.org.issuer.crt",
                                       "b.org lego/certificates/b.org.crt lego/certificates/b.org.key -"});
}

static void test_caddy(void **state) {
    struct tree *t = *state;
    use_preset(t, 4, "caddy");
    put(t, "caddy/certificates/acme-v02.api.letsencrypt.org-directory/a.org/a.org.crt", "c");
    put(t, "caddy/certificates/acme-v02.api.letsencrypt.org-directory/a.org/a.org.key", "k");
    put(t, "caddy/certificates/acme-v02.api.letsencrypt.org-directory/a.org/a.org.json", "k");
    put(t, "caddy/certificates/local/wildcard_.b.org/wildcard_.b.org.crt", "c");
    assert_true(scan(t));
    assert_found(t, 2,
                 (const char *const[]){
                     "a.org caddy/certificates/acme-v02.api.letsencrypt.org-directory/a.org/a.org.crt "
                     "caddy/certificates/acme-v02.api.letsencrypt.org-directory/a.org/a.org.key -",
                     "wildcard_.b.org caddy/certificates/local/wildcard_.b.org/wildcard_.b.org.crt "
                     "caddy/certificates/local/wildcard_.b.org/wildcard_.b.org.key -"});
}

struct seen {
    char paths[16][PATH_MAX];
    size_t n;
};
static void on_path(void *arg, const char *path) {
    struct seen *s = arg;
    assert_true(s->n < CS_ARRAY_LEN(s->paths));
    snprintf(s->paths[s->n++], PATH_MAX, "%s", path);
}

// As the kubelet does: tls.crt -> ..data/tls.crt, ..data -> ..2026_1; each update is a new directory and one
// rename.
static void test_kubernetes_swaps(void **state) {
    struct tree *t = *state;
    char directory[64], link[PATH_MAX], path[PATH_MAX];
    put(t, "tls/..v0/tls.crt", "c0");
    put(t, "tls/..v0/tls.key", "k0");
    put_link(t, "..v0", "tls/..data");
    put_link(t, "..data/tls.crt", "tls/tls.crt");
    put_link(t, "..data/tls.key", "tls/tls.key");
    use_preset(t, 5, "tls");
    assert_true(scan(t));
    assert_found(t, 1, (const char *const[]){"section tls/tls.crt tls/tls.key -"});
    path_of(t, "tls/tls.crt", path);
    uint64_t last = 0;
    for (int i = 1; i <= 20; i++) {
        struct cs_err err;
        struct seen seen = {.n = 0};
        snprintf(directory, sizeof directory, "tls/..v%d/tls.crt", i);
        put(t, directory, "c");
        snprintf(directory, sizeof directory, "..v%d", i);
        put_link(t, directory, "tls/..data");
        assert_true(cs_path_follow(path, NULL, on_path, &seen));
        path_of(t, "tls/..data", link);
        assert_string_equal(seen.paths[1], link);
        snprintf(directory, sizeof directory, "tls/..v%d/tls.crt", i);
        path_of(t, directory, link);
        assert_string_equal(seen.paths[2], link);
        assert_int_equal(seen.n, 3);
        uint64_t stamp = cs_stamp_mix(0, path);
        assert_true(stamp != last);
        last = stamp;
        assert_int_equal(cs_guarded_read(path, &t->sections.items[0].policy, NULL, &t->buffer, &err),
                         CS_READ_OK);
    }
}

static void test_combined_and_names(void **state) {
    struct tree *t = *state;
    struct cs_watch_settings s = plain();
    static char as[] = "edge-{name}";
    s.combined = text(t, "haproxy/{name}.pem");
    s.as = as;
    make_section(t, &s);
    put(t, "haproxy/www.pem", "x");
    put(t, "haproxy/www.pem.tmp", "x");
    assert_true(scan(t));
    assert_found(t, 1, (const char *const[]){"edge-www haproxy/www.pem haproxy/www.pem -"});
}

static void test_sm2_pairs(void **state) {
    struct tree *t = *state;
    struct cs_watch_settings s = plain();
    s.certificate = text(t, "gm/{name}.crt"); // also matches the encryption certificates
    s.key = text(t, "gm/{name}.key");
    s.encrypt_certificate = text(t, "gm/{name}.enc.crt");
    s.encrypt_key = text(t, "gm/{name}.enc.key");
    s.encrypt_chain = text(t, "gm/{name}.enc.ca");
    make_section(t, &s);
    put(t, "gm/one.crt", "x");
    put(t, "gm/one.enc.crt", "x");
    put(t, "gm/two.crt", "x");
    put(t, "gm/two.enc.ca", "x");
    assert_true(scan(t));
    assert_found(t, 2,
                 (const char *const[]){
                     "one gm/one.crt gm/one.key - + gm/one.enc.crt gm/one.enc.key -",
                     "two gm/two.crt gm/two.key - + gm/two.enc.crt gm/two.enc.key gm/two.enc.ca",
                 });
    char path[PATH_MAX];
    path_of(t, "gm/three.enc.key", path);
    assert_true(cs_scan_concerns(&t->sections.items[0], path));
}

static void test_sections_that_make_no_sense(void **state) {
    struct tree *t = *state;
    struct cs_err err;
    static char p[] = "/x/{name}.crt", k[] = "/x/{name}.key", literal[] = "/x/a.crt",
                nobody[] = "no-such-user";
    char *owners[] = {nobody};
    struct cs_watch_settings rows[11];
    for (size_t i = 0; i < CS_ARRAY_LEN(rows); i++)
        rows[i] = plain();
    rows[1].certificate = p;
    rows[2].combined = p;
    rows[2].pairs = literal;
    rows[3].preset = 5; // kubernetes without path
    rows[4].preset = 1;
    rows[4].combined = p;
    rows[5].certificate = literal;
    rows[5].key = k;
    rows[6].combined = p;
    rows[6].owners = (struct cs_list){owners, 1};
    rows[7].certificate = p; // an SM2 pair without its second key
    rows[7].key = k;
    rows[7].encrypt_certificate = k;
    rows[8].combined = p;
    rows[8].encrypt_certificate = rows[8].encrypt_key = k;
    rows[9].preset = 1;
    rows[9].encrypt_certificate = rows[9].encrypt_key = k;
    rows[10].certificate = rows[10].key = rows[10].encrypt_certificate = literal;
    rows[10].encrypt_key = k;
    for (size_t i = 0; i < CS_ARRAY_LEN(rows); i++) {
        struct cs_settings_items items = {&rows[i], 1};
        assert_false(cs_sections_new(&items, &t->sections, &err));
        assert_int_equal(err.kind, CS_ERR_CONFIG);
        assert_non_null(strstr(err.msg, "[watch section]"));
    }
}

// --- pairs

static void copy_file(const struct tree *t, const char *from, const char *rest) {
    char source[PATH_MAX], content[16384];
    snprintf(source, sizeof source, "%s/%s", CERTSYNC_TEST_CERTS, from);
    FILE *in = fopen(source, "r");
    assert_non_null(in);
    size_t n = fread(content, 1, sizeof content - 1, in);
    fclose(in);
    content[n] = '\0';
    put(t, rest, content);
}

static void test_pairs_by_public_key(void **state) {
    struct tree *t = *state;
    struct cs_watch_settings s = plain();
    s.pairs = text(t, "pairs");
    make_section(t, &s);
    assert_false(scan(t)); // no directory
    copy_file(t, "p256.pem", "pairs/zebra.pem");
    copy_file(t, "p256.key", "pairs/one");
    copy_file(t, "rsa.pem", "pairs/second.crt");
    copy_file(t, "ca-sub.pem", "pairs/ca.pem");
    put(t, "pairs/notes.txt", "nothing");
    assert_true(scan(t));
    assert_found(t, 2,
                 (const char *const[]){"second pairs/second.crt - -", "zebra pairs/zebra.pem pairs/one -"});
}

static bool is_that(void *arg, const char *original) {
    return strcmp(original, arg) == 0;
}

static void test_names_of_copies(void **state) {
    (void)state;
    static const struct {
        const char *name, *original;
        bool copy;
    } rows[] = {
        {"www (copy).crt", "www.crt", true},       {"www (2).crt", "www.crt", true},
        {"www - Copy.crt", "www.crt", true},       {"www - Copy (2).crt", "www.crt", true},
        {"www copy.crt", "www.crt", true},         {"Copy of www.crt", "www.crt", true},
        {"www.crt.bak", "www.crt", true},          {"www.crt~", "www.crt", true},
        {"www.crt.20260101", "www.crt", true},     {"www.crt.dpkg-old", "www.crt", true},
        {"www.crt_old", "www.crt", true},          {"www.old.crt", "www.crt", true},
        {"www-backup2.crt", "www.crt", true},      {"www_bak.crt", "www.crt", true},
        {"www.orig.crt", "www.crt", true},         {"www.crt", "www.crt", false},
        {"www.old.pem", "www.crt", false},         {"www2.crt", "www.crt", false},
        {"www.example.crt", "www.crt", false},     {"www.older.crt", "www.crt", false},
        {"www-a.crt", "www.crt", false},           {"www.crtx", "www.crt", false},
        {"www.crt", "www.crt.bak", false},         {"www.crt", "www", false},
        {"example.com.crt", "example.crt", false}, {"www.key", "www.crt", false},
    };
    for (size_t i = 0; i < CS_ARRAY_LEN(rows); i++)
        if (cs_is_copy(rows[i].name, is_that, (void *)(uintptr_t)rows[i].original) != rows[i].copy)
            fail_msg("%s of %s", rows[i].name, rows[i].original);
}

static void test_pairs_with_copies(void **state) {
    struct tree *t = *state;
    struct cs_watch_settings s = plain();
    s.pairs = text(t, "pairs");
    make_section(t, &s);
    copy_file(t, "p256.pem", "pairs/www.crt");
    copy_file(t, "p256.key", "pairs/www.key");
    const char *const only[] = {"www pairs/www.crt pairs/www.key -"};
    static const struct {
        const char *from, *to;
    } copies[] = {
        {"p256.pem", "pairs/www (copy).crt"},  {"p256.key", "pairs/www (copy).key"},
        {"p256.pem", "pairs/www.crt.bak"},     {"p256.key", "pairs/www.key.bak"},
        {"rsa.pem", "pairs/www.old.crt"},      {"rsa.key", "pairs/www.old.key"}, // of the last renewal
        {"p256.pem", "pairs/Copy of www.crt"}, {"p256.pem", "pairs/a-copy-of-another-name.crt"},
    };
    for (size_t i = 0; i < CS_ARRAY_LEN(copies); i++) {
        copy_file(t, copies[i].from, copies[i].to);
        assert_true(scan(t));
        assert_found(t, 1, only);
        assert_int_equal(t->problems, 0);
    }
    // A copy under a shorter name, that would be the better one, comes too late.
    copy_file(t, "p256.pem", "pairs/a.crt");
    t->known = "pairs/www.crt";
    assert_true(scan(t));
    assert_found(t, 1, only);
    // What is no copy by its name is one more certificate.
    copy_file(t, "rsa.pem", "pairs/other.crt");
    assert_true(scan(t));
    assert_found(t, 2, (const char *const[]){"other pairs/other.crt pairs/www.old.key -", only[0]});
}

// --- the guarded read

static void test_what_is_refused(void **state) {
    struct tree *t = *state;
    struct cs_err err;
    char path[PATH_MAX], link[PATH_MAX];
    struct cs_file_policy p = {.follow_links = true, .max_bytes = 100};
    p.owners[0] = geteuid();
    p.owners_len = 1;
    put(t, "file", "text");
    path_of(t, "file", path);
    assert_int_equal(cs_guarded_read(path, &p, NULL, &t->buffer, &err), CS_READ_OK);
    assert_int_equal(t->buffer.bytes.len, 4);
    path_of(t, "missing", link);
    assert_int_equal(cs_guarded_read(link, &p, NULL, &t->buffer, &err), CS_READ_GONE);
    assert_int_equal(t->buffer.bytes.len, 0);
    path_of(t, "link", link);
    assert_int_equal(symlink("file", link), 0);
    assert_int_equal(cs_guarded_read(link, &p, NULL, &t->buffer, &err), CS_READ_OK);
    p.follow_links = false;
    assert_int_equal(cs_guarded_read(link, &p, NULL, &t->buffer, &err), CS_READ_REFUSED);
    assert_non_null(strstr(err.msg, "symbolic link"));
    p.owners[0] = geteuid() + 1;
    assert_int_equal(cs_guarded_read(path, &p, NULL, &t->buffer, &err), CS_READ_REFUSED);
    assert_non_null(strstr(err.msg, "owners"));
    p.any_owner = true;
    assert_int_equal(cs_guarded_read(path, &p, NULL, &t->buffer, &err), CS_READ_OK);
    path_of(t, "fifo", link);
    assert_int_equal(mkfifo(link, 0600), 0);
    assert_int_equal(cs_guarded_read(link, &p, NULL, &t->buffer, &err), CS_READ_REFUSED);
    assert_int_equal(cs_guarded_read("/dev/zero", &p, NULL, &t->buffer, &err), CS_READ_REFUSED);
    assert_int_equal(cs_guarded_read(t->f->dir, &p, NULL, &t->buffer, &err), CS_READ_REFUSED);
    assert_int_equal(truncate(path, 101), 0);
    assert_int_equal(cs_guarded_read(path, &p, NULL, &t->buffer, &err), CS_READ_REFUSED);
    assert_non_null(strstr(err.msg, "101 bytes"));
    assert_int_equal(truncate(path, (off_t)1 << 40), 0); // sparse: refused without being read
    assert_int_equal(cs_guarded_read(path, &p, NULL, &t->buffer, &err), CS_READ_REFUSED);
}

// A link anywhere in the path counts, not only at its end; and whose it is.
static void test_links_on_the_way(void **state) {
    struct tree *t = *state;
    struct cs_err err;
    char path[PATH_MAX], wanted[PATH_MAX + 32];
    static const char *const ways[] = {"www/tls.crt", "deep/www/tls.crt", "www/link.crt",
                                       "real/www/link.crt"};
    put(t, "real/www/tls.crt", "text");
    put(t, "deep/x", "");
    put_link(t, "real/www", "www");
    put_link(t, "../real/www", "deep/www");
    put_link(t, "tls.crt", "real/www/link.crt");
    for (size_t i = 0; i < CS_ARRAY_LEN(ways); i++) {
        struct cs_file_policy p = {.follow_links = true, .max_bytes = 100, .owners_len = 1};
        p.owners[0] = geteuid();
        path_of(t, ways[i], path);
        assert_int_equal(cs_guarded_read(path, &p, NULL, &t->buffer, &err), CS_READ_OK);
        p.follow_links = false;
        assert_int_equal(cs_guarded_read(path, &p, NULL, &t->buffer, &err), CS_READ_REFUSED);
        assert_non_null(strstr(err.msg, "symbolic link, and this section says: links = no"));
    }
    path_of(t, "deep/www", path);
    if (geteuid() != 0) {
        print_message("not root: a link of another user cannot be made here\n");
        skip();
    }
    assert_int_equal(lchown(path, 12345, 12345), 0);
    snprintf(wanted, sizeof wanted, "%s is a symbolic link of a user", path);
    path_of(t, "deep/www/tls.crt", path);
    struct cs_file_policy p = {.follow_links = true, .max_bytes = 100, .owners_len = 1};
    assert_int_equal(cs_guarded_read(path, &p, NULL, &t->buffer, &err), CS_READ_REFUSED);
    assert_non_null(strstr(err.msg, wanted));
    p.owners[p.owners_len++] = 12345;
    assert_int_equal(cs_guarded_read(path, &p, NULL, &t->buffer, &err), CS_READ_OK);
}

static void test_following_links(void **state) {
    struct tree *t = *state;
    struct seen seen = {.n = 0};
    char path[PATH_MAX];
    put(t, "real/file", "x");
    put_link(t, "../real", "real/up");
    put_link(t, "up/./file", "real/b");
    put_link(t, "loop2", "real/loop1");
    put_link(t, "loop1", "real/loop2");
    assert_true(cs_path_follow(text(t, "real/up/b"), NULL, on_path, &seen));
    static const char *const steps[] = {"real/up", "real/b", "real/up", "real/file"};
    assert_int_equal(seen.n, CS_ARRAY_LEN(steps));
    for (size_t i = 0; i < CS_ARRAY_LEN(steps); i++) {
        path_of(t, steps[i], path);
        assert_string_equal(seen.paths[i], path);
    }
    // The way to the directory is kept, and told for each file in it.
    CS_AUTO(cs_place_clear) struct cs_place place = {0};
    for (int i = 0; i < 2; i++) {
        seen.n = 0;
        assert_true(cs_path_follow(text(t, "real/up/b"), &place, on_path, &seen));
        assert_int_equal(seen.n, CS_ARRAY_LEN(steps));
        for (size_t k = 0; k < CS_ARRAY_LEN(steps); k++) {
            path_of(t, steps[k], path);
            assert_string_equal(seen.paths[k], path);
        }
    }
    seen.n = 0;
    assert_false(cs_path_follow(text(t, "real/up/none"), &place, on_path, &seen));
    assert_int_equal(seen.n, 2);
    seen.n = 0;
    assert_false(cs_path_follow(text(t, "real/missing/x"), &place, on_path, &seen));
    path_of(t, "real/missing", path);
    assert_string_equal(seen.paths[0], path); // its coming will be seen
}

// Files of one directory are read without walking there again: by the same rules, until the place is left.
static void test_reading_in_one_place(void **state) {
    struct tree *t = *state;
    struct cs_err err;
    CS_AUTO(cs_place_clear) struct cs_place place = {0};
    struct cs_file_policy p = {.follow_links = true, .any_owner = true, .max_bytes = 1000};
    struct cs_file_policy strict = {.any_owner = true, .max_bytes = 1000};
    put(t, "one/a", "1a");
    put(t, "one/b", "1b");
    put(t, "two/b", "2b");
    put_link(t, "b", "one/link");
    put_link(t, "one", "way");
    static const struct {
        const char *path, *content;
    } rows[] = {{"way/a", "1a"}, {"way/b", "1b"}, {"way/link", "1b"}, {"two/b", "2b"}, {"one/a", "1a"}};
    for (size_t i = 0; i < CS_ARRAY_LEN(rows); i++) {
        assert_int_equal(cs_guarded_read(text(t, rows[i].path), &p, &place, &t->buffer, &err), CS_READ_OK);
        assert_memory_equal(t->buffer.bytes.data, rows[i].content, 2);
    }
    assert_int_equal(cs_guarded_read(text(t, "one/none"), &p, &place, &t->buffer, &err), CS_READ_GONE);
    assert_int_equal(cs_guarded_read(text(t, "one/link"), &strict, &place, &t->buffer, &err),
                     CS_READ_REFUSED);
    assert_int_equal(cs_guarded_read(text(t, "way/a"), &strict, &place, &t->buffer, &err), CS_READ_REFUSED);
    assert_int_equal(cs_guarded_read(text(t, "way/b"), &p, &place, &t->buffer, &err), CS_READ_OK);
    char way[PATH_MAX];
    path_of(t, "way", way);
    assert_int_equal(unlink(way), 0);
    put_link(t, "two", "way");
    cs_place_clear(&place);
    assert_int_equal(cs_guarded_read(text(t, "way/b"), &p, &place, &t->buffer, &err), CS_READ_OK);
    assert_memory_equal(t->buffer.bytes.data, "2b", 2);
}

static void ignore_path(void *arg, const char *path) {
    (void)path;
    ++*(int *)arg;
}

static void test_a_loop_of_links_ends(void **state) {
    struct tree *t = *state;
    int n = 0;
    put(t, "real/file", "x");
    put_link(t, "loop2", "real/loop1");
    put_link(t, "loop1", "real/loop2");
    assert_false(cs_path_follow(text(t, "real/loop1"), NULL, ignore_path, &n));
    assert_true(n > 2 && n < 100);
}

int main(void) {
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_components),
        T(test_patterns_that_are_none),
        T(test_certbot),
        T(test_acme_sh),
        T(test_acme_sh_wildcards),
        T(test_dehydrated),
        T(test_uacme),
        T(test_certmonger),
        T(test_lego),
        T(test_caddy),
        T(test_kubernetes_swaps),
        T(test_combined_and_names),
        T(test_sm2_pairs),
        T(test_sections_that_make_no_sense),
        T(test_pairs_by_public_key),
        T(test_names_of_copies),
        T(test_pairs_with_copies),
        T(test_what_is_refused),
        T(test_links_on_the_way),
        T(test_following_links),
        T(test_reading_in_one_place),
        T(test_a_loop_of_links_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
