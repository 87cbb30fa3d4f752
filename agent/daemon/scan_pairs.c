// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE // memmem
#include "daemon/scan_pairs.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "certsync/base/grow.h"
#include "certsync/base/text.h"
#include "certsync/model/pem.h"
#include "daemon/copies.h"
#include "daemon/pattern.h"

#define FILES_MAX     20000
#define CS_TEXT_OF(x) TEXT_OF(x)
#define TEXT_OF(x)    #x

struct file {
    char *name;
    bool has_certificate, has_key;
    uint8_t certificate_spki[32], key_spki[32], leaf[32];
    size_t certs; // how many are in it
    bool is_copy; // by its name, a copy of another file that is there
    bool known;   // a certificate that an earlier scan found
};
struct files {
    struct file *items;
    size_t n, cap;
};
static void files_clear(struct files *f) {
    for (size_t i = 0; i < f->n; i++)
        free(f->items[i].name);
    free(f->items);
}
CS_DEFINE_AUTO_CLEAR(struct files, files_clear)

static bool holds(struct cs_bytes text, const char *word) {
    return memmem(text.data, text.len, word, strlen(word)) != NULL;
}

// A file may be skipped without a message only if nobody needs it.
struct look {
    const struct cs_section *section;
    const struct cs_scan_hooks *hooks;
    struct cs_crypto *crypto;
    const char *path;
    struct cs_bytes text;
};

static void tell(const struct look *l, const char *what) {
    char shown[300];
    struct cs_err err;
    cs_text_escape(l->path, strlen(l->path), shown, sizeof shown);
    cs_err_set(&err, CS_ERR_CONFIG, CS_CODE_NONE, "%s: %s", shown, what);
    l->hooks->on_problem(l->hooks->arg, l->section, &err);
}

// Files with only CA certificates are no pair's certificate.
static void look_for_certificate(const struct look *l, struct file *f) {
    struct cs_cert **certs;
    size_t n;
    struct cs_err err;
    if (!holds(l->text, "CERTIFICATE-----"))
        return;
    if (!cs_pem_certs(l->crypto, l->path, l->text, &certs, &n, &err)) {
        l->hooks->on_problem(l->hooks->arg, l->section, &err);
        return;
    }
    for (size_t i = 0; i < n && !f->has_certificate; i++) {
        if (certs[i]->is_ca)
            continue;
        f->has_certificate = true;
        f->certs = n;
        memcpy(f->certificate_spki, certs[i]->spki_sha256, 32);
        memcpy(f->leaf, certs[i]->sha256, 32);
    }
    cs_certs_free(certs, n);
}

static void look_for_key(const struct look *l, struct file *f) {
    CS_AUTO(cs_privkey_free) struct cs_privkey *key = NULL;
    uint8_t *spki;
    size_t len;
    struct cs_err err;
    if (!holds(l->text, "PRIVATE KEY-----"))
        return;
    if (!cs_pem_privkey(l->crypto, l->path, l->text, &key, &err) ||
        !cs_privkey_spki(key, &spki, &len, &err)) {
        l->hooks->on_problem(l->hooks->arg, l->section, &err);
        return;
    }
    f->has_key = true;
    cs_crypto_sha256(l->crypto, (struct cs_bytes){spki, len}, f->key_spki);
    free(spki);
}

static bool ends_with(const char *name, const char *ending) {
    size_t len = strlen(name), end = strlen(ending);
    return len > end && strcmp(name + len - end, ending) == 0;
}

// A certificate in another form. It is not read.
static void look_for_other_forms(const struct look *l) {
    static const char *const endings[] = {".crt", ".cer", ".cert", ".der", ".p12", ".pfx", ".pem", ".key"};
    if (l->text.len == 0 || holds(l->text, "-----BEGIN"))
        return;
    for (size_t i = 0; i < CS_ARRAY_LEN(endings); i++)
        if (ends_with(l->path, endings[i])) {
            tell(l, "it is not PEM, and is passed over; convert it (openssl x509 -inform DER, openssl "
                    "pkcs12), or "
                    "move it away");
            return;
        }
}

static bool add(struct files *all, const struct file *f) {
    if (all->n == FILES_MAX)
        return false;
    if (!CS_GROW(&all->items, &all->cap, all->n + 1))
        return false;
    all->items[all->n++] = *f;
    return true;
}

static bool is_directory(DIR *dir, const struct dirent *e) {
    struct stat st;
    if (e->d_type != DT_UNKNOWN && e->d_type != DT_LNK)
        return e->d_type == DT_DIR;
    return fstatat(dirfd(dir), e->d_name, &st, 0) == 0 && S_ISDIR(st.st_mode);
}

// False: no memory to keep it.
static bool take_file(const struct look *l, const char *name, struct files *all) {
    struct file f = {0};
    look_for_certificate(l, &f);
    look_for_key(l, &f);
    look_for_other_forms(l);
    if (!f.has_certificate && !f.has_key)
        return true;
    f.name = strdup(name);
    if (f.name && add(all, &f))
        return true;
    free(f.name);
    return false;
}

static bool read_directory(const struct cs_section *s, DIR *dir, struct cs_crypto *crypto,
                           struct cs_guarded *buffer, const struct cs_scan_hooks *hooks, struct files *all) {
    CS_AUTO(cs_place_clear) struct cs_place place = {0};
    char path[PATH_MAX];
    const struct dirent *e;
    bool complete = true;
    struct look l = {.section = s, .hooks = hooks, .crypto = crypto, .path = s->pairs};
    while ((errno = 0, e = readdir(dir)) != NULL) {
        struct cs_err err;
        if (e->d_name[0] == '.' || is_directory(dir, e))
            continue;
        if (snprintf(path, sizeof path, "%s/%s", s->pairs, e->d_name) >= (int)sizeof path) {
            tell(&l, "passed over: a path in it is too long");
            continue;
        }
        enum cs_read r = cs_guarded_read(path, &s->policy, &place, buffer, &err);
        if (r == CS_READ_REFUSED)
            hooks->on_problem(hooks->arg, s, &err);
        complete &= r == CS_READ_OK || r == CS_READ_GONE;
        if (r != CS_READ_OK)
            continue;
        bool kept = take_file(&(struct look){s, hooks, crypto, path, buffer->bytes}, e->d_name, all);
        cs_guarded_wipe(buffer);
        if (!kept) {
            tell(&l, "it holds more files than are looked at (" CS_TEXT_OF(
                         FILES_MAX) "); make several sections of it");
            return false;
        }
    }
    return complete && errno == 0;
}

// Which of two files with the same content counts: no copy, then more certificates, then known
// before, then the shorter name.
static bool goes_before(const struct file *a, const struct file *b) {
    size_t a_len = strlen(a->name), b_len = strlen(b->name);
    if (a->is_copy != b->is_copy)
        return b->is_copy;
    if (a->certs != b->certs) // fullchain.pem beside cert.pem
        return a->certs > b->certs;
    if (a->known != b->known)
        return a->known;
    return a_len != b_len ? a_len < b_len : strcmp(a->name, b->name) < 0;
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const struct file *)a)->name, ((const struct file *)b)->name);
}

struct copy_search {
    const struct files *all; // by name
    const struct file *of;
};

static bool is_original(void *arg, const char *name) {
    const struct copy_search *c = arg;
    char text[PATH_MAX];
    snprintf(text, sizeof text, "%s", name);
    const struct file *o =
        bsearch(&(struct file){.name = text}, c->all->items, c->all->n, sizeof *c->all->items, by_name);
    return o && (c->of->has_certificate ? o->has_certificate : o->has_key);
}

static void find_copies(const struct cs_section *s, const struct cs_scan_hooks *hooks, struct files *all) {
    char path[PATH_MAX];
    if (all->n > 0)
        qsort(all->items, all->n, sizeof *all->items, by_name);
    for (size_t i = 0; i < all->n; i++) {
        struct file *f = &all->items[i];
        snprintf(path, sizeof path, "%s/%s", s->pairs, f->name);
        f->known = hooks->is_known && f->has_certificate && hooks->is_known(hooks->arg, path);
        f->is_copy = cs_is_copy(f->name, is_original, &(struct copy_search){all, f});
    }
}

static const struct file *key_of(const struct files *all, const struct file *cert) {
    const struct file *best = NULL;
    for (size_t i = 0; i < all->n; i++) {
        const struct file *f = &all->items[i];
        if (f->has_key && memcmp(f->key_spki, cert->certificate_spki, 32) == 0 &&
            (!best || f == cert || (best != cert && goes_before(f, best))))
            best = f;
    }
    return best;
}

// Whether another file with the same leaf is the better one. A copy never counts, not even with a
// leaf of its own: that is the certificate before its renewal.
static bool told_better(const struct files *all, const struct file *cert) {
    if (cert->is_copy)
        return true;
    for (size_t i = 0; i < all->n; i++) {
        const struct file *o = &all->items[i];
        if (o != cert && o->has_certificate && memcmp(o->leaf, cert->leaf, 32) == 0 && goes_before(o, cert))
            return true;
    }
    return false;
}

// The file's name without an ending of certificates.
static void name_of(const char *file, struct cs_match *m) {
    static const char *const endings[] = {".pem", ".crt", ".cer", ".cert"};
    size_t len = strlen(file);
    for (size_t i = 0; i < CS_ARRAY_LEN(endings); i++) {
        size_t end = strlen(endings[i]);
        if (len > end && strcmp(file + len - end, endings[i]) == 0) {
            len -= end;
            break;
        }
    }
    m->has_name = len < sizeof m->name;
    snprintf(m->name, sizeof m->name, "%.*s", (int)len, file);
}

static bool fits_some(const struct files *all, const struct file *key) {
    for (size_t i = 0; i < all->n; i++)
        if (all->items[i].has_certificate && memcmp(all->items[i].certificate_spki, key->key_spki, 32) == 0)
            return true;
    return false;
}

static void tell_lonely_keys(const struct cs_section *s, const struct files *all,
                             const struct cs_scan_hooks *hooks) {
    char path[PATH_MAX];
    for (size_t i = 0; i < all->n; i++) {
        if (!all->items[i].has_key || all->items[i].is_copy || fits_some(all, &all->items[i]))
            continue;
        snprintf(path, sizeof path, "%s/%s", s->pairs, all->items[i].name);
        tell(&(struct look){.section = s, .hooks = hooks, .path = path},
             "it is a key without a certificate: none in this directory belongs to it");
    }
}

static void tell_pairs(const struct cs_section *s, const struct files *all,
                       const struct cs_scan_hooks *hooks) {
    char path[PATH_MAX], key_path[PATH_MAX], name[PATH_MAX];
    struct cs_match m = {0};
    for (size_t i = 0; i < all->n; i++) {
        const struct file *f = &all->items[i];
        if (!f->has_certificate || told_better(all, f))
            continue;
        const struct file *key = key_of(all, f);
        struct cs_candidate c = {.section = s, .name = name, .certificate = path};
        snprintf(path, sizeof path, "%s/%s", s->pairs, f->name);
        if (key)
            snprintf(key_path, sizeof key_path, "%s/%s", s->pairs, key->name);
        c.key = key == f ? path : key ? key_path : NULL;
        name_of(f->name, &m);
        if (!cs_path_pattern_expand(s->files[0].as, &m, name, sizeof name))
            continue;
        cs_scan_name(name);
        hooks->on_candidate(hooks->arg, &c);
    }
}

bool cs_scan_pairs(const struct cs_section *s, struct cs_crypto *crypto, struct cs_guarded *buffer,
                   const struct cs_scan_hooks *hooks) {
    CS_AUTO(files_clear) struct files all = {0};
    DIR *dir = opendir(s->pairs);
    int code = errno;
    cs_scan_watch(hooks, s->pairs);
    if (!dir) {
        char text[200];
        snprintf(text, sizeof text, "it cannot be read: %s; %s", strerror(code),
                 code == ENOENT ? "check the section, or what should be mounted there"
                                : "check the section, and whether the agent's user has access to it");
        tell(&(struct look){.section = s, .hooks = hooks, .path = s->pairs}, text);
        return false;
    }
    bool complete = read_directory(s, dir, crypto, buffer, hooks, &all);
    closedir(dir);
    find_copies(s, hooks, &all);
    tell_pairs(s, &all, hooks);
    tell_lonely_keys(s, &all, hooks);
    return complete;
}
