// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE // memmem
#include "scan_pairs.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "certsync/model/pem.h"
#include "certsync/model/text.h"
#include "pattern.h"

#define FILES_MAX 20000

struct file {
    char *name;
    bool has_certificate, has_key;
    uint8_t certificate_spki[32], key_spki[32], leaf[32];
    size_t certs; // how many are in it
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

// Files that hold only CA certificates are nobody's certificate.
static void look_for_certificate(struct cs_crypto *crypto, const char *path, struct cs_bytes text,
                                 struct file *f) {
    struct cs_cert **certs;
    size_t n;
    struct cs_err ignored;
    if (!holds(text, "CERTIFICATE-----") || !cs_pem_certs(crypto, path, text, &certs, &n, &ignored))
        return;
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

static void look_for_key(struct cs_crypto *crypto, const char *path, struct cs_bytes text, struct file *f) {
    CS_AUTO(cs_privkey_free) struct cs_privkey *key = NULL;
    uint8_t *spki;
    size_t len;
    struct cs_err ignored;
    if (!holds(text, "PRIVATE KEY-----") || !cs_pem_privkey(crypto, path, text, &key, &ignored) ||
        !cs_privkey_spki(key, &spki, &len, &ignored))
        return;
    f->has_key = true;
    cs_crypto_sha256(crypto, (struct cs_bytes){spki, len}, f->key_spki);
    free(spki);
}

static bool add(struct files *all, const struct file *f) {
    if (all->n == all->cap) {
        size_t cap = all->cap ? all->cap * 2 : 32;
        struct file *items = cap <= FILES_MAX * 2 ? realloc(all->items, cap * sizeof *items) : NULL;
        if (!items)
            return false;
        all->items = items;
        all->cap = cap;
    }
    all->items[all->n++] = *f;
    return true;
}

static bool read_directory(const struct cs_section *s, DIR *dir, struct cs_crypto *crypto,
                           struct cs_guarded *buffer, const struct cs_scan_hooks *hooks, struct files *all) {
    char path[PATH_MAX];
    const struct dirent *e;
    bool complete = true;
    while ((e = readdir(dir)) != NULL) {
        struct file f = {0};
        struct cs_err err;
        if (e->d_name[0] == '.' || e->d_type == DT_DIR ||
            snprintf(path, sizeof path, "%s/%s", s->pairs, e->d_name) >= (int)sizeof path)
            continue;
        enum cs_read r = cs_guarded_read(path, &s->policy, buffer, &err);
        if (r == CS_READ_REFUSED)
            hooks->on_problem(hooks->arg, s, &err);
        complete &= r == CS_READ_OK || r == CS_READ_GONE;
        if (r != CS_READ_OK)
            continue;
        look_for_certificate(crypto, path, buffer->bytes, &f);
        look_for_key(crypto, path, buffer->bytes, &f);
        cs_guarded_wipe(buffer);
        if (!f.has_certificate && !f.has_key)
            continue;
        f.name = strdup(e->d_name);
        if (!f.name || !add(all, &f)) {
            free(f.name);
            return false;
        }
    }
    return complete;
}

static const struct file *key_of(const struct files *all, const struct file *cert) {
    for (size_t i = 0; i < all->n; i++)
        if (all->items[i].has_key && memcmp(all->items[i].key_spki, cert->certificate_spki, 32) == 0)
            return &all->items[i];
    return NULL;
}

// The same leaf in another file that says more (fullchain.pem beside cert.pem), or comes first.
static bool told_better(const struct files *all, const struct file *cert) {
    for (size_t i = 0; i < all->n; i++) {
        const struct file *o = &all->items[i];
        if (o != cert && o->has_certificate && memcmp(o->leaf, cert->leaf, 32) == 0 &&
            (o->certs > cert->certs || (o->certs == cert->certs && strcmp(o->name, cert->name) < 0)))
            return true;
    }
    return false;
}

// The file's name without an ending that certificates have.
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

static void tell(const struct cs_section *s, const struct files *all, const struct cs_scan_hooks *hooks) {
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
        if (cs_path_pattern_expand(s->files[0].as, &m, name, sizeof name))
            hooks->on_candidate(hooks->arg, &c);
    }
}

bool cs_scan_pairs(const struct cs_section *s, struct cs_crypto *crypto, struct cs_guarded *buffer,
                   const struct cs_scan_hooks *hooks) {
    CS_AUTO(files_clear) struct files all = {0};
    DIR *dir = opendir(s->pairs);
    hooks->on_directory(hooks->arg, s->pairs);
    if (!dir) {
        struct cs_err err;
        cs_err_set(&err, CS_ERR_CONFIG, CS_CODE_NONE, "%s: cannot be read: %s", s->pairs, strerror(errno));
        hooks->on_problem(hooks->arg, s, &err);
        return false;
    }
    bool complete = read_directory(s, dir, crypto, buffer, hooks, &all);
    closedir(dir);
    tell(s, &all, hooks);
    return complete;
}
