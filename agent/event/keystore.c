// SPDX-License-Identifier: Apache-2.0
#include "event/keystore.h"

#include <ctype.h>
#include <openssl/conf.h>
#include <openssl/err.h>
#include <openssl/provider.h>
#include <openssl/store.h>
#include <openssl/ui.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "certsync/runtime/mask.h"

bool cs_keystore_is_uri(const char *key) {
    size_t n = 0;
    while (isalnum((unsigned char)key[n]) || (n > 0 && strchr("+-.", key[n]) && key[n]))
        n++;
    return n > 1 && key[n] == ':';
}

static bool fail(struct cs_err *err, const char *uri, const char *what) {
    char shown[200], reason[200] = "";
    unsigned long code = ERR_peek_last_error();
    cs_mask_text(uri, shown, sizeof shown, true); // it may contain a PIN
    if (code != 0)
        snprintf(reason, sizeof reason, ": %s",
                 ERR_reason_error_string(code) ? ERR_reason_error_string(code) : "no reason given");
    ERR_clear_error();
    return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE, "agent.key: %s: %s%s", shown, what, reason);
}

// A library context of its own. A hardware provider in the common one would also be asked for
// digests and random numbers.
struct providers {
    OSSL_LIB_CTX *ctx;
    OSSL_PROVIDER *wanted, *builtin;
};

static void providers_free(void *arg) {
    struct providers *p = arg;
    if (p->wanted)
        OSSL_PROVIDER_unload(p->wanted);
    if (p->builtin)
        OSSL_PROVIDER_unload(p->builtin);
    OSSL_LIB_CTX_free(p->ctx);
    free(p);
}

static struct providers *load_providers(const char *uri, const char *name, struct cs_err *err) {
    char *config = CONF_get1_default_config_file(), text[160];
    struct providers *p = calloc(1, sizeof *p);
    if (p)
        p->ctx = OSSL_LIB_CTX_new();
    if (p && p->ctx) {
        if (config)
            (void)OSSL_LIB_CTX_load_config(p->ctx, config); // the file is optional
        ERR_clear_error();
        p->wanted = name[0] ? OSSL_PROVIDER_load(p->ctx, name) : NULL;
        p->builtin = OSSL_PROVIDER_load(p->ctx, "default");
    }
    OPENSSL_free(config);
    if (p && p->builtin && (p->wanted || !name[0]))
        return p;
    snprintf(text, sizeof text,
             "the OpenSSL provider %s (agent.key_provider) cannot be loaded; is its package installed?",
             name);
    fail(err, uri, text);
    if (p)
        providers_free(p);
    return NULL;
}

static EVP_PKEY *find_key(OSSL_STORE_CTX *store) {
    EVP_PKEY *pkey = NULL;
    while (!pkey && !OSSL_STORE_eof(store)) {
        OSSL_STORE_INFO *info = OSSL_STORE_load(store);
        if (info && OSSL_STORE_INFO_get_type(info) == OSSL_STORE_INFO_PKEY)
            pkey = OSSL_STORE_INFO_get1_PKEY(info);
        else if (!info && OSSL_STORE_error(store))
            break;
        OSSL_STORE_INFO_free(info);
    }
    return pkey;
}

bool cs_keystore_open(const char *uri, const char *provider, struct cs_privkey **ret, struct cs_err *err) {
    char query[80] = "";
    ERR_clear_error();
    struct providers *p = load_providers(uri, provider, err);
    if (!p)
        return false;
    if (provider[0])
        snprintf(query, sizeof query, "?provider=%s", provider);
    OSSL_STORE_CTX *store =
        OSSL_STORE_open_ex(uri, p->ctx, query[0] ? query : NULL, UI_null(), NULL, NULL, NULL, NULL);
    EVP_PKEY *pkey = NULL;
    if (store && OSSL_STORE_expect(store, OSSL_STORE_INFO_PKEY) == 1)
        pkey = find_key(store);
    if (!pkey)
        fail(err, uri,
             store ? "no private key is there"
                   : "no OpenSSL provider that is loaded knows this kind of URI; set agent.key_provider, or "
                     "load it in openssl.cnf");
    OSSL_STORE_close(store);
    const struct cs_privkey_store from = {p->ctx, providers_free, p};
    bool ok = pkey && (cs_privkey_adopt(pkey, &from, ret, err) || cs_err_prepend(err, "agent.key"));
    if (!ok)
        providers_free(p);
    return ok;
}
