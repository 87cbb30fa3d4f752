// SPDX-License-Identifier: Apache-2.0
#include "daemon/scan.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "certsync/base/secret.h"
#include "daemon/pattern.h"
#include "daemon/scan_pairs.h"

struct walk {
    const struct cs_section *section;
    const struct cs_section_files *files;
    size_t files_index;
    bool keys; // look for keys without certificates instead of certificates
    const struct cs_scan_hooks *hooks;
    struct cs_match match;
    char path[PATH_MAX];
    size_t len;
    bool complete;
};

static void tell(const struct walk *w, const char *path, const char *what) {
    char shown[300];
    struct cs_err err;
    cs_secret_show(path, strlen(path), shown, sizeof shown);
    cs_err_set(&err, CS_ERR_CONFIG, CS_CODE_NONE, "%s: %s", shown, what);
    w->hooks->on_problem(w->hooks->arg, w->section, &err);
}

static void problem(struct walk *w, const char *path) {
    char text[160], parent[PATH_MAX];
    const char *slash = strrchr(path, '/');
    snprintf(text, sizeof text, "cannot be read: %s; give the agent's user access to it", strerror(errno));
    w->complete = false;
    tell(w, path, text);
    // Its mode may be corrected: the parent directory reports that.
    snprintf(parent, sizeof parent, "%.*s", slash ? (int)(slash - path) : 0, path);
    cs_scan_watch(w->hooks, parent[0] ? parent : "/");
}

// A place that the section names without {name} or '*'. Places that these stand for come and go.
static bool is_named(const struct walk *w) {
    return !w->match.has_name && w->match.stars_len == 0;
}

void cs_scan_name(char *name) {
    for (; *name; name++)
        if (*name == '*')
            *name = '_';
}

void cs_scan_watch(const struct cs_scan_hooks *h, const char *path) {
    char at[PATH_MAX];
    struct stat st;
    snprintf(at, sizeof at, "%s", path);
    while (at[0] && (stat(at, &st) < 0 || !S_ISDIR(st.st_mode))) {
        char *slash = strrchr(at, '/');
        if (!slash)
            return;
        *slash = '\0';
    }
    h->on_directory(h->arg, at[0] ? at : "/");
}

// {name}.pem also matches www-key.pem. If there is a www.pem, www-key.pem is its key.
static bool is_key_of(const struct cs_section_files *f, const char *key, const char *path) {
    char certificate[PATH_MAX];
    struct cs_match m;
    struct stat st;
    return key && cs_path_pattern_match(key, path, &m) &&
           cs_path_pattern_expand(f->certificate, &m, certificate, sizeof certificate) &&
           strcmp(certificate, path) != 0 && lstat(certificate, &st) == 0;
}

// Whether an earlier pattern of the section has the certificate, or it is the chain or encryption
// file of another.
static bool taken(const struct walk *w, const char *path) {
    for (size_t i = 0; i < w->section->files_len; i++) {
        const struct cs_section_files *f = &w->section->files[i];
        // "{name}.crt" also matches files of other patterns of the section.
        const char *const others[] = {f->chain, f->encrypt_certificate, f->encrypt_chain};
        for (size_t k = 0; k < CS_ARRAY_LEN(others); k++)
            if (others[k] && cs_path_pattern_leads(others[k], path) && strcmp(others[k], f->certificate) != 0)
                return true;
        if ((i < w->files_index && cs_path_pattern_leads(f->certificate, path)) ||
            is_key_of(f, f->key, path) || is_key_of(f, f->encrypt_key, path))
            return true;
    }
    return false;
}

// False where the pattern's text does not fit.
static bool put_encrypt(const struct walk *w, char paths[3][PATH_MAX], struct cs_candidate *c) {
    const struct cs_section_files *f = w->files;
    struct stat st;
    if (!f->encrypt_certificate)
        return true;
    if (!cs_path_pattern_expand(f->encrypt_certificate, &w->match, paths[0], PATH_MAX) ||
        !cs_path_pattern_expand(f->encrypt_key, &w->match, paths[1], PATH_MAX))
        return false;
    c->encrypt_certificate = paths[0];
    c->encrypt_key = paths[1];
    if (f->encrypt_chain && cs_path_pattern_expand(f->encrypt_chain, &w->match, paths[2], PATH_MAX) &&
        lstat(paths[2], &st) == 0)
        c->encrypt_chain = paths[2];
    return true;
}

static bool has_certificate(const struct walk *w, char certificate[PATH_MAX], bool *ret_first) {
    const struct cs_section *s = w->section;
    struct stat st;
    *ret_first = true;
    for (size_t i = 0; i < s->files_len; i++) {
        const struct cs_section_files *f = &s->files[i];
        if (!f->key || strcmp(f->key, w->files->key) != 0)
            continue;
        *ret_first &= i >= w->files_index;
        if (!cs_path_pattern_expand(f->certificate, &w->match, certificate, PATH_MAX) ||
            lstat(certificate, &st) == 0 || errno != ENOENT)
            return true;
    }
    return false;
}

// A key without its certificate: a broken-off renewal, or a certificate that was never issued.
static void found_key(struct walk *w) {
    char certificate[PATH_MAX], shown[300], text[400];
    struct stat st;
    bool first; // of the patterns of this key
    if (lstat(w->path, &st) < 0 || S_ISDIR(st.st_mode) || has_certificate(w, certificate, &first) || !first)
        return;
    cs_secret_show(certificate, strlen(certificate), shown, sizeof shown);
    snprintf(text, sizeof text, "it is a key without a certificate: there is no %s", shown);
    tell(w, w->path, text);
}

static void found(struct walk *w) {
    char key[PATH_MAX], chain[PATH_MAX], name[PATH_MAX], encrypt[3][PATH_MAX];
    struct stat st;
    if (lstat(w->path, &st) < 0) {
        if (errno != ENOENT && errno != ENOTDIR)
            problem(w, w->path);
        else if (is_named(w))
            tell(w, w->path, "there is no such file; check the section, or have the certificate issued");
        return;
    }
    struct cs_candidate c = {.section = w->section, .name = name, .certificate = w->path, .key = w->path};
    if (S_ISDIR(st.st_mode) || taken(w, w->path) ||
        !cs_path_pattern_expand(w->files->as, &w->match, name, sizeof name))
        return;
    cs_scan_name(name);
    if (w->files->key) {
        if (!cs_path_pattern_expand(w->files->key, &w->match, key, sizeof key))
            return;
        if (w->files->only_with_key && lstat(key, &st) < 0 && errno == ENOENT)
            return;
        c.key = key;
    }
    if (w->files->chain && cs_path_pattern_expand(w->files->chain, &w->match, chain, sizeof chain) &&
        lstat(chain, &st) == 0)
        c.chain = chain;
    if (!put_encrypt(w, encrypt, &c))
        return;
    w->hooks->on_candidate(w->hooks->arg, &c);
}

static void walk_on(struct walk *w, const char *pattern);

static bool is_plain(const char *pattern, size_t len) {
    return !memchr(pattern, '*', len) && !memchr(pattern, '{', len);
}

static bool append(struct walk *w, const char *text, size_t len) {
    if (w->len + len + 2 > sizeof w->path)
        return false;
    w->path[w->len++] = '/';
    memcpy(w->path + w->len, text, len);
    w->len += len;
    w->path[w->len] = '\0';
    return true;
}

static void truncate_to(struct walk *w, size_t len) {
    w->len = len;
    w->path[len] = '\0';
}

static void walk_entries(struct walk *w, DIR *dir, const char *pattern, size_t len) {
    const struct dirent *e;
    size_t before = w->len;
    const struct cs_match match = w->match;
    while ((errno = 0, e = readdir(dir)) != NULL) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ||
            !cs_path_pattern_component(pattern, len, e->d_name, &w->match)) {
            w->match = match;
            continue;
        }
        if (append(w, e->d_name, strlen(e->d_name)))
            walk_on(w, pattern + len);
        else
            tell(w, w->path, "passed over: a path in it is too long");
        truncate_to(w, before);
        w->match = match;
    }
    if (errno != 0)
        problem(w, w->path);
}

static void missing_directory(struct walk *w) {
    bool gone = errno == ENOENT;
    if (is_named(w))
        tell(w, w->path,
             gone ? "there is no such directory; check the section, or what should be mounted there"
                  : "it, or a part of it, is not a directory; check the section");
    if (!gone)
        return;
    // It does not exist yet, or is not mounted. This does not mean that certificates were removed.
    w->complete = false;
    cs_scan_watch(w->hooks, w->path);
}

// pattern: the part after w->path. It begins with '/', or is empty.
static void walk_on(struct walk *w, const char *pattern) {
    size_t before = w->len;
    while (*pattern == '/') {
        size_t len = strcspn(++pattern, "/");
        bool last = pattern[len] == '\0';
        if (last)
            cs_scan_watch(w->hooks, w->len ? w->path : "/");
        if (!is_plain(pattern, len)) {
            DIR *dir = opendir(w->len ? w->path : "/");
            if (dir) {
                if (!last)
                    w->hooks->on_directory(w->hooks->arg, w->len ? w->path : "/");
                walk_entries(w, dir, pattern, len);
                closedir(dir);
            } else if (errno == ENOENT || errno == ENOTDIR) {
                missing_directory(w);
            } else {
                problem(w, w->path);
            }
            truncate_to(w, before);
            return;
        }
        if (!append(w, pattern, len))
            break;
        pattern += len;
    }
    if (*pattern == '\0' && w->keys)
        found_key(w);
    else if (*pattern == '\0')
        found(w);
    truncate_to(w, before);
}

// A key's path tells its certificate's path if the key's pattern takes all that the other one
// needs.
static bool leads_back(const struct cs_section_files *f) {
    size_t of_key = 0, of_certificate = 0;
    for (const char *p = f->key; p && *p; p++)
        of_key += *p == '*';
    for (const char *p = f->certificate; *p; p++)
        of_certificate += *p == '*';
    return f->key && strcmp(f->key, f->certificate) != 0 && cs_path_pattern_has_name(f->key) &&
           of_key == of_certificate;
}

static bool walk_files(const struct cs_section *section, size_t index, bool keys,
                       const struct cs_scan_hooks *hooks) {
    const struct cs_section_files *f = &section->files[index];
    struct walk *w = calloc(1, sizeof *w);
    if (!w)
        return false;
    *w = (struct walk){
        .section = section, .files = f, .files_index = index, .keys = keys, .hooks = hooks, .complete = true};
    walk_on(w, keys ? f->key : f->certificate);
    bool complete = w->complete;
    free(w);
    return complete;
}

bool cs_scan_section(const struct cs_section *section, struct cs_crypto *crypto, struct cs_guarded *buffer,
                     const struct cs_scan_hooks *hooks) {
    bool complete = true;
    if (section->pairs)
        return cs_scan_pairs(section, crypto, buffer, hooks);
    for (size_t i = 0; i < section->files_len; i++) {
        complete &= walk_files(section, i, false, hooks);
        if (leads_back(&section->files[i]))
            (void)walk_files(section, i, true, hooks);
    }
    return complete;
}

bool cs_scan_concerns(const struct cs_section *section, const char *path) {
    if (section->pairs) {
        size_t len = strlen(section->pairs);
        return strncmp(path, section->pairs, len) == 0 || strncmp(path, section->pairs, strlen(path)) == 0;
    }
    for (size_t i = 0; i < section->files_len; i++) {
        const struct cs_section_files *f = &section->files[i];
        const char *const patterns[] = {f->certificate,         f->key,         f->chain,
                                        f->encrypt_certificate, f->encrypt_key, f->encrypt_chain};
        for (size_t k = 0; k < CS_ARRAY_LEN(patterns); k++)
            if (patterns[k] && cs_path_pattern_leads(patterns[k], path))
                return true;
    }
    return false;
}
