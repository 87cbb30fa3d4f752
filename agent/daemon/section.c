// SPDX-License-Identifier: Apache-2.0
#include "daemon/section.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "certsync/base/secret.h"
#include "certsync/model/ident.h"
#include "certsync/model/pem.h"
#include "daemon/pattern.h"

#define S          struct cs_watch_settings
#define ALL_OWNERS "*"

enum preset {
    PRESET_NONE,
    PRESET_CERTBOT,
    PRESET_ACME_SH,
    PRESET_LEGO,
    PRESET_CADDY,
    PRESET_KUBERNETES,
    PRESET_DEHYDRATED,
    PRESET_UACME,
    PRESET_CERTMONGER
};
static const char *const name_taken_names[] = {"host", "refuse", NULL};
static const char *const preset_names[] = {"none",       "certbot",    "acme.sh", "lego",       "caddy",
                                           "kubernetes", "dehydrated", "uacme",   "certmonger", NULL};

// Where each client puts its files, below its directory. The manual page certsync.conf(5) has this
// table, too.
static const struct layout {
    const char *path;   // the client's own default; NULL: must be given
    bool only_with_key; // the directory also holds others' certificates, which have no key there
    struct {
        const char *certificate, *key, *chain, *as; // as NULL: the section's
    } files[2];
} layouts[] = {
    [PRESET_CERTBOT] = {"/etc/letsencrypt",
                        false,
                        {{"live/{name}/fullchain.pem", "live/{name}/privkey.pem", NULL, NULL}}},
    // acme.sh keeps the ECC certificate of a domain beside the RSA one, in NAME_ecc.
    [PRESET_ACME_SH] = {"/root/.acme.sh",
                        false,
                        {{"{name}_ecc/fullchain.cer", "{name}_ecc/{name}.key", NULL, "{name}_ecc"},
                         {"{name}/fullchain.cer", "{name}/{name}.key", NULL, NULL}}},
    // lego's own default is .lego in the current directory. This is root's home.
    [PRESET_LEGO] = {"/root/.lego",
                     false,
                     {{"certificates/{name}.crt", "certificates/{name}.key", "certificates/{name}.issuer.crt",
                       NULL}}},
    [PRESET_CADDY] = {"/var/lib/caddy/.local/share/caddy",
                      false,
                      {{"certificates/*/{name}/{name}.crt", "certificates/*/{name}/{name}.key", NULL, NULL}}},
    [PRESET_KUBERNETES] = {NULL, false, {{"tls.crt", "tls.key", NULL, NULL}}},
    // Debian's package sets this BASEDIR.
    [PRESET_DEHYDRATED] = {"/var/lib/dehydrated",
                           false,
                           {{"certs/{name}/fullchain.pem", "certs/{name}/privkey.pem", NULL, NULL}}},
    [PRESET_UACME] = {"/etc/ssl/uacme", false, {{"{name}/cert.pem", "private/{name}/key.pem", NULL, NULL}}},
    // certmonger puts files where each request says. Mostly that is here, beside the system's CA
    // bundles.
    [PRESET_CERTMONGER] = {"/etc/pki/tls",
                           true,
                           {{"certs/{name}.crt", "private/{name}.key", NULL, NULL},
                            {"certs/{name}.pem", "private/{name}.key", NULL, NULL}}},
};

// clang-format off
const struct cs_setting cs_watch_rows[CS_WATCH_ROWS] = {
    CS_SETTING_CHOICE("preset", S, preset, "none", preset_names, CS_SETTING_RELOADABLE,
                      "Who puts the files there: certbot (/etc/letsencrypt), acme.sh (/root/.acme.sh), lego (/root/.lego), caddy "
                      "(/var/lib/caddy/.local/share/caddy), dehydrated (/var/lib/dehydrated), uacme (/etc/ssl/uacme), certmonger "
                      "(/etc/pki/tls), or kubernetes (tls.crt and tls.key in path)."),
    CS_SETTING_PATH("path", S, path, "", CS_SETTING_RELOADABLE,
                    "The preset's directory, where it is not the one that preset names; may hold {name}."),
    CS_SETTING_PATH("certificate", S, certificate, "", CS_SETTING_RELOADABLE,
                    "Pattern of certificate files; {name} stands for the name, * for any part of a path component."),
    CS_SETTING_PATH("key", S, key, "", CS_SETTING_RELOADABLE,
                    "Pattern of the key file that belongs to a certificate file."),
    CS_SETTING_PATH("chain", S, chain, "", CS_SETTING_RELOADABLE,
                    "Pattern of a file with intermediate certificates, if there is one."),
    CS_SETTING_PATH("encrypt_certificate", S, encrypt_certificate, "", CS_SETTING_RELOADABLE,
                    "SM2: pattern of the encryption certificate that goes with the signing one, which certificate and key then name."),
    CS_SETTING_PATH("encrypt_key", S, encrypt_key, "", CS_SETTING_RELOADABLE,
                    "SM2: pattern of the encryption certificate's key file."),
    CS_SETTING_PATH("encrypt_chain", S, encrypt_chain, "", CS_SETTING_RELOADABLE,
                    "SM2: pattern of a file with the encryption certificate's intermediate certificates, if there is one."),
    CS_SETTING_PATH("combined", S, combined, "", CS_SETTING_RELOADABLE,
                    "Pattern of files that hold certificate, chain and key together."),
    CS_SETTING_PATH("pairs", S, pairs, "", CS_SETTING_RELOADABLE,
                    "Directory of certificates and keys under any names, matched by their public keys; copies of a file (www.crt.bak, www.old.crt) are passed over."),
    CS_SETTING_STR("as", S, as, "", CS_SETTING_RELOADABLE,
                   "Name in the catalog, made of {name} and other text; empty: {name}, or the section's name where there is none. The * of a wildcard becomes _."),
    CS_SETTING_LIST("tags", S, tags, "", CS_SETTING_RELOADABLE, "Tags for these certificates."),
    CS_SETTING_CHOICE("name_taken", S, name_taken, "host", name_taken_names, CS_SETTING_RELOADABLE,
                      "Where another host has a certificate of this name: host registers under NAME-HOST, the host's own name; refuse leaves it and says so."),
    CS_SETTING_BOOL("delete", S, remove, "no", CS_SETTING_RELOADABLE,
                    "Whether a certificate is deleted from the catalog when its files are gone here and no other host has it."),
    CS_SETTING_DURATION("delete_after", S, remove_after_ms, "10m", 0, 30LL * 86400000, CS_SETTING_RELOADABLE,
                        "How long the files must be gone before that."),
    CS_SETTING_BOOL("links", S, links, "yes", CS_SETTING_RELOADABLE, "Whether symbolic links in a file's path, anywhere in it, are followed."),
    CS_SETTING_LIST("owners", S, owners, "", CS_SETTING_RELOADABLE,
                    "Users who may own the files; links in their paths may be theirs or root's; * is anybody; empty: root and the user that the agent runs as."),
    CS_SETTING_SIZE("max_size", S, max_size, "256KiB", 1, CS_PEM_FILE_MAX, CS_SETTING_RELOADABLE,
                    "Largest file that is read."),
};
// clang-format on

static bool fault(const S *s, const char *what, struct cs_err *err) {
    return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE, "[watch %s]: %s", s->name, what);
}

void cs_sections_clear(struct cs_sections *s) {
    for (size_t i = 0; i < s->n; i++) {
        for (size_t k = 0; k < s->items[i].files_len; k++) {
            free(s->items[i].files[k].certificate);
            free(s->items[i].files[k].key);
            free(s->items[i].files[k].chain);
            free(s->items[i].files[k].encrypt_certificate);
            free(s->items[i].files[k].encrypt_key);
            free(s->items[i].files[k].encrypt_chain);
            free(s->items[i].files[k].as);
        }
    }
    free(s->items);
    *s = (struct cs_sections){0};
}

static bool put_text(char **to, const char *base, const char *rest, struct cs_err *err) {
    size_t base_len = strlen(base);
    while (rest && base_len > 1 && base[base_len - 1] == '/')
        base_len--;
    size_t size = base_len + (rest ? strlen(rest) + 1 : 0) + 1;
    *to = malloc(size);
    if (!*to)
        return cs_err_oom(err);
    snprintf(*to, size, "%.*s%s%s", (int)base_len, base, rest ? "/" : "", rest ? rest : "");
    return true;
}

static bool any_encrypt(const S *s) {
    return s->encrypt_certificate[0] || s->encrypt_key[0] || s->encrypt_chain[0];
}

static bool put_preset(const S *s, struct cs_section *out, struct cs_err *err) {
    const struct layout *l = &layouts[s->preset];
    if (s->certificate[0] || s->key[0] || s->chain[0] || s->combined[0] || s->pairs[0] || any_encrypt(s))
        return fault(s, "a preset says where the files are; only path goes with it", err);
    const char *base = s->path[0] ? s->path : l->path;
    if (!base)
        return fault(s, "this preset needs path, the directory of the mount", err);
    for (size_t i = 0; i < CS_ARRAY_LEN(l->files) && l->files[i].certificate; i++) {
        struct cs_section_files *f = &out->files[out->files_len++];
        f->only_with_key = l->only_with_key;
        if (!put_text(&f->certificate, base, l->files[i].certificate, err) ||
            !put_text(&f->key, base, l->files[i].key, err) ||
            (l->files[i].chain && !put_text(&f->chain, base, l->files[i].chain, err)) ||
            (l->files[i].as && !s->as[0] && !put_text(&f->as, l->files[i].as, NULL, err)))
            return false;
    }
    return true;
}

static bool put_patterns(const S *s, struct cs_section *out, struct cs_err *err) {
    bool separate = s->certificate[0] || s->key[0] || s->chain[0];
    if (s->path[0])
        return fault(s, "path goes with a preset; without one say certificate and key, combined, or pairs",
                     err);
    if (separate + (s->combined[0] != '\0') + (s->pairs[0] != '\0') != 1)
        return fault(
            s, "say what to watch: preset, or certificate and key, or combined, or pairs; one of them", err);
    if (separate && (!s->certificate[0] || !s->key[0]))
        return fault(s, "certificate and key belong together", err);
    if (any_encrypt(s) && (!separate || !s->encrypt_certificate[0] || !s->encrypt_key[0]))
        return fault(
            s, "an SM2 pair is certificate and key (for signing), encrypt_certificate and encrypt_key", err);
    if (s->pairs[0]) {
        out->pairs = s->pairs;
        out->files_len = 1;
        return s->pairs[0] == '/' ? true : fault(s, "pairs: a path from the root is wanted", err);
    }
    struct cs_section_files *f = &out->files[out->files_len++];
    return put_text(&f->certificate, separate ? s->certificate : s->combined, NULL, err) &&
           (!separate || put_text(&f->key, s->key, NULL, err)) &&
           (!s->chain[0] || put_text(&f->chain, s->chain, NULL, err)) &&
           (!any_encrypt(s) || (put_text(&f->encrypt_certificate, s->encrypt_certificate, NULL, err) &&
                                put_text(&f->encrypt_key, s->encrypt_key, NULL, err))) &&
           (!s->encrypt_chain[0] || put_text(&f->encrypt_chain, s->encrypt_chain, NULL, err));
}

static bool check_pattern(const S *s, const struct cs_section_files *f, const char *pattern,
                          struct cs_err *err) {
    if (!pattern)
        return true;
    if (!cs_path_pattern_check(pattern, err))
        return cs_err_prepend(err, "[watch %s]", s->name);
    if (cs_path_pattern_has_name(pattern) && !cs_path_pattern_has_name(f->certificate))
        return fault(s, "{name} is in another pattern, but not in the certificate's", err);
    size_t stars = 0, given = 0;
    for (const char *p = pattern; *p; p++)
        stars += *p == '*';
    for (const char *p = f->certificate; *p; p++)
        given += *p == '*';
    return stars <= given ? true : fault(s, "another pattern has more '*' than the certificate's", err);
}

static bool put_as(const S *s, struct cs_section *out, struct cs_err *err) {
    bool named = out->pairs || cs_path_pattern_has_name(out->files[0].certificate);
    const char *as = s->as[0] ? s->as : named ? "{name}" : s->name;
    for (const char *p = as; *p; p++)
        if (strncmp(p, "{name}", 6) == 0)
            p += 5;
        else if (!isalnum((unsigned char)*p) && !strchr("._-", *p))
            return fault(s, "as: only letters, digits, '.', '_', '-' and {name}", err);
    if (!named && cs_path_pattern_has_name(as))
        return fault(s, "as: {name} is not in the certificate's pattern", err);
    for (size_t i = 0; i < out->files_len; i++)
        if (!out->files[i].as && !put_text(&out->files[i].as, as, NULL, err))
            return false;
    return true;
}

static bool put_owner(const S *s, const char *text, struct cs_file_policy *p, struct cs_err *err) {
    char *end;
    unsigned long id = strtoul(text, &end, 10);
    if (strcmp(text, ALL_OWNERS) == 0) {
        p->any_owner = true;
        return true;
    }
    if (*end || !text[0]) {
        const struct passwd *pw = getpwnam(text);
        char shown[CS_SECRET_QUOTE_SIZE];
        cs_secret_quote(text, strlen(text), shown, sizeof shown);
        if (!pw)
            return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE, "[watch %s]: owners: there is no user \"%s\"",
                              s->name, shown);
        id = pw->pw_uid;
    }
    p->owners[p->owners_len++] = (uid_t)id;
    return true;
}

static bool put_policy(const S *s, struct cs_file_policy *p, struct cs_err *err) {
    *p = (struct cs_file_policy){.follow_links = s->links, .max_bytes = (size_t)s->max_size};
    if (s->owners.count > CS_OWNERS_MAX)
        return fault(s, "owners: at most 16", err);
    for (size_t i = 0; i < s->owners.count; i++)
        if (!put_owner(s, s->owners.items[i], p, err))
            return false;
    if (s->owners.count == 0) {
        p->owners[0] = 0;
        p->owners[1] = geteuid();
        p->owners_len = 2;
    }
    return true;
}

static bool put_section(const S *s, struct cs_section *out, struct cs_err *err) {
    *out = (struct cs_section){.name = s->name,
                               .tags = &s->tags,
                               .name_taken_host = s->name_taken == 0,
                               .remove = s->remove,
                               .remove_after_ms = s->remove_after_ms};
    if (s->tags.count > CS_TAGS_MAX)
        return fault(s, "tags: at most 16", err);
    for (size_t i = 0; i < s->tags.count; i++)
        if (!cs_tag_valid(s->tags.items[i], strlen(s->tags.items[i])))
            return fault(s, "tags: a tag begins with a letter or digit; then also . _ : = / - are allowed",
                         err);
    bool ok = s->preset == PRESET_NONE ? put_patterns(s, out, err) : put_preset(s, out, err);
    for (size_t i = 0; ok && !out->pairs && i < out->files_len; i++) {
        const struct cs_section_files *f = &out->files[i];
        ok = check_pattern(s, f, f->certificate, err) && check_pattern(s, f, f->key, err) &&
             check_pattern(s, f, f->chain, err) && check_pattern(s, f, f->encrypt_certificate, err) &&
             check_pattern(s, f, f->encrypt_key, err) && check_pattern(s, f, f->encrypt_chain, err);
    }
    return ok && put_as(s, out, err) && put_policy(s, &out->policy, err);
}

bool cs_sections_new(const struct cs_settings_items *items, struct cs_sections *ret, struct cs_err *err) {
    CS_AUTO(cs_sections_clear) struct cs_sections out = {0};
    out.items = calloc(items->count ? items->count : 1, sizeof *out.items);
    if (!out.items)
        return cs_err_oom(err);
    const S *all = items->items;
    for (size_t i = 0; i < items->count; i++) {
        out.n = i + 1;
        if (!put_section(&all[i], &out.items[i], err))
            return false;
    }
    *ret = out;
    out = (struct cs_sections){0};
    return true;
}

bool cs_sections_check(const struct cs_settings_items *items, struct cs_err *err) {
    CS_AUTO(cs_sections_clear) struct cs_sections s = {0};
    return cs_sections_new(items, &s, err);
}
