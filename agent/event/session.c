// SPDX-License-Identifier: Apache-2.0
#include "event/session.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "certsync/model/pem.h"
#include "certsync/runtime/log.h"
#include "certsync/runtime/mask.h"
#include "event/keystore.h"
#include "event/known_log.h"

#define SYSTEM_CONFIG CERTSYNC_ETC "/certsync.conf"
#define USER_CONFIG   "/.config/certsync/certsync.conf"
#define MADE_UP       "dry-run"

extern char **environ;

// --config, CERTSYNC_CONFIG, the system's file, the user's file; "" without any.
static void config_path(const struct cs_globals *g, char *out, size_t size) {
    char user[PATH_MAX] = "";
    const char *home = getenv("HOME"), *env = getenv("CERTSYNC_CONFIG");
    if (home && home[0])
        snprintf(user, sizeof user, "%s" USER_CONFIG, home);
    bool has_user = user[0] && access(user, R_OK) == 0;
    // Without another file, a system's file that cannot be read counts: loading it reports the
    // fault.
    bool has_system = access(SYSTEM_CONFIG, has_user ? R_OK : F_OK) == 0;
    const char *path = g->config       ? g->config
                       : env && env[0] ? env
                       : has_system    ? SYSTEM_CONFIG
                       : has_user      ? user
                                       : "";
    snprintf(out, size, "%s", path);
}

bool cs_session_load_settings(const struct cs_cli *cli, void **ret, struct cs_err *err) {
    char path[PATH_MAX];
    config_path(cli->globals, path, sizeof path);
    struct cs_settings_source source = {
        .file = path[0] ? path : SYSTEM_CONFIG,
        .file_optional = !path[0],
        .env = (const char *const *)environ,
        .overrides = cli->overrides,
        .override_count = cli->override_count,
    };
    return cs_settings_load(&cs_agent_settings_table, &source, ret, err);
}

static bool load_settings(struct cs_session *s, struct cs_err *err) {
    void *values;
    if (!cs_session_load_settings(s->cli, &values, err))
        return false;
    s->settings = values;
    cs_log_set_level((enum cs_log_level)s->settings->log_level);
    return true;
}

static bool missing(const struct cs_session *s, struct cs_err *err, const char *what, const char *key,
                    const char *env, const char *option) {
    char path[PATH_MAX], shown[300];
    config_path(s->globals, path, sizeof path);
    cs_mask_text(path[0] ? path : SYSTEM_CONFIG, shown, sizeof shown, true);
    return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                      "%s is not set: put %s into the settings file %s%s, or set %s%s%s", what, key, shown,
                      path[0] ? "" : " (which is not there, nor is one in ~/.config/certsync)", env,
                      option[0] ? ", or give " : "", option);
}

// "" if the directory of the file exists; else what to do.
static const char *no_directory(const char *path) {
    char directory[PATH_MAX];
    snprintf(directory, sizeof directory, "%s", path);
    const char *slash = strrchr(directory, '/');
    directory[slash ? slash - directory + (slash == directory) : 0] = '\0';
    return !slash || access(directory, F_OK) == 0
               ? ""
               : "the directory does not exist: correct the path, or make it";
}

static bool put_key(struct cs_session *s, struct cs_privkey *key, const char *path, struct cs_err *err) {
    s->key = key;
    char shown[300];
    cs_mask_text(path, shown, sizeof shown, true); // it may be a URI with a PIN
    if (cs_privkey_type(key) != CS_KEY_P256)
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                          "%s: this key is %s; events and tokens are signed with P-256 (certsync keygen)",
                          path, cs_key_type_name(cs_privkey_type(key)));
    cs_privkey_kid(s->crypto, key, s->kid);
    return true;
}

static bool load_key(struct cs_session *s, struct cs_err *err) {
    struct cs_privkey *key;
    const char *path = s->settings->key;
    if (!path[0])
        return missing(s, err, "the host's key", "key = FILE under [agent]", "CERTSYNC_AGENT_KEY",
                       "--key FILE");
    if (cs_keystore_is_uri(path))
        return cs_keystore_open(path, s->settings->key_provider, &key, err) && put_key(s, key, path, err);
    if (access(path, F_OK) < 0 && errno == ENOENT) {
        if (s->globals->dry_run)
            return cs_privkey_generate(CS_KEY_P256, 0, &key, err) && put_key(s, key, path, err);
        if (no_directory(path)[0])
            return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE, "agent.key: %s: %s", path,
                              no_directory(path));
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                          "%s: there is no key; make one with: certsync keygen --out %s; then have an admin "
                          "enrol it: certsync agent enroll",
                          path, path);
    }
    CS_AUTO(cs_input_clear) struct cs_input in = {0};
    if (!cs_input_read(path, CS_INPUT_PRIVATE, &in, err) ||
        !cs_pem_privkey(s->crypto, path, in.bytes, &key, err)) {
        err->kind = CS_ERR_CONFIG; // a setting is wrong, not the event
        return false;
    }
    return put_key(s, key, path, err);
}

bool cs_session_read_spki(struct cs_crypto *c, const char *path, uint8_t **ret, size_t *ret_len,
                          struct cs_err *err) {
    CS_AUTO(cs_input_clear) struct cs_input in = {0};
    return cs_input_read(path, 0, &in, err) && cs_pem_spki(c, path, in.bytes, ret, ret_len, err);
}

static bool load_custodian(struct cs_session *s, struct cs_err *err) {
    const char *path = s->settings->custodian;
    CS_AUTO(cs_privkey_free) struct cs_privkey *made_up = NULL;
    CS_AUTO(cs_pubkey_free) struct cs_pubkey *key = NULL;
    if (!path[0] && s->globals->dry_run)
        return cs_privkey_generate(CS_KEY_X25519, 0, &made_up, err) &&
               cs_privkey_spki(made_up, &s->custodian, &s->custodian_len, err);
    if (!path[0])
        return missing(s, err, "the custodian's public key, to which private keys are sealed,",
                       "custodian = FILE under [agent]", "CERTSYNC_AGENT_CUSTODIAN", "");
    if (access(path, F_OK) < 0 && errno == ENOENT)
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                          "agent.custodian: %s: No such file; " CS_CUSTODIAN_ADVICE, path);
    if (!cs_session_read_spki(s->crypto, path, &s->custodian, &s->custodian_len, err)) {
        err->kind = CS_ERR_CONFIG;
        return cs_err_prepend(err, "agent.custodian");
    }
    bool ok = cs_pubkey_new(s->crypto, (struct cs_bytes){s->custodian, s->custodian_len}, &key, err);
    if (!ok || cs_pubkey_type(key) != CS_KEY_X25519)
        return cs_err_set(
            err, CS_ERR_CONFIG, CS_CODE_NONE,
            "agent.custodian: %s: not a custodian's key (X25519), made by: certsync keygen --type custodian",
            path);
    return true;
}

// A daemon with an API of another log goes on, so that its status can tell of it; it sends nothing.
static bool meet_log(struct cs_session *s, unsigned needs, struct cs_err *err) {
    bool ok = cs_known_log_meet(s, err), foreign = !ok && s->client && cs_client_foreign_log(s->client);
    if (!(needs & CS_ENDLESS))
        return ok;
    cs_client_free(CS_TAKE(s->client)); // it borrows from a session that will move
    if (foreign)
        memcpy(s->foreign_log, err->msg, sizeof s->foreign_log);
    return ok || foreign;
}

bool cs_session_open(const struct cs_cli *cli, unsigned needs, struct cs_session *ret, struct cs_err *err) {
    *ret = (struct cs_session){.cli = cli, .globals = cli->globals, .clock = cs_clock_real()};
    struct cs_session *s = ret; // the caller closes it, also half open
    // Endless commands handle signals themselves.
    if (!(needs & CS_ENDLESS) && !cs_interrupt_start(cli, s->globals->json, &s->interrupt, err))
        return false;
    s->deadline_ms =
        needs & CS_ENDLESS ? INT64_MAX : cs_clock_mono_ms(s->clock) + s->globals->timeout_s * 1000;
    if (!load_settings(s, err) || !cs_crypto_new(&s->crypto, err) || !cs_known_log_recall(s, "", err))
        return false;
    bool dry = s->globals->dry_run;
    s->account = s->settings->account[0] || !dry ? s->settings->account : MADE_UP;
    if ((needs & CS_NEED_KEY) && !s->deployment[0])
        return missing(s, err, "the deployment", "id = NAME under [deployment]", "CERTSYNC_DEPLOYMENT_ID",
                       "--set deployment.id=NAME");
    if ((needs & CS_NEED_ACCOUNT) && !s->account[0])
        return missing(s, err, "the account", "account = ID under [agent]", "CERTSYNC_AGENT_ACCOUNT",
                       "--account ID");
    if ((needs & CS_NEED_KEY) && !load_key(s, err))
        return false;
    if ((needs & CS_NEED_CUSTODIAN) && !load_custodian(s, err))
        return false;
    return !(needs & CS_NEED_LOG) || meet_log(s, needs, err);
}

void cs_session_close(struct cs_session *s) {
    cs_interrupt_free(s->interrupt);
    cs_client_free(s->client);
    free(s->custodian);
    cs_privkey_free(s->key);
    cs_crypto_free(s->crypto);
    cs_settings_free(&cs_agent_settings_table, s->settings);
    *s = (struct cs_session){0};
}

bool cs_session_client(struct cs_session *s, struct cs_err *err) {
    if (s->client)
        return true;
    struct cs_client_options o = {
        .url = s->settings->api_url,
        .ca = s->settings->api_ca,
        .timeout_ms = s->settings->api_timeout_ms,
        .deployment = s->deployment,
        .log_id = s->log_id,
        .account = s->account,
        .kid = s->kid,
        .key = s->key,
        .crypto = s->crypto,
        .clock = s->clock,
        .deadline_ms = s->deadline_ms,
    };
    return cs_client_new(&o, &s->client, err);
}

struct cs_compose cs_session_compose(const struct cs_session *s) {
    return (struct cs_compose){
        .crypto = s->crypto,
        .log_id = s->log_id,
        .account = s->account,
        .kid = s->kid,
        .custodian = {s->custodian, s->custodian_len},
        .now_ms = cs_clock_wall_ms(s->clock),
    };
}

int64_t cs_session_left_ms(const struct cs_session *s) {
    int64_t left = s->deadline_ms - cs_clock_mono_ms(s->clock);
    return left > 0 ? left : 0;
}

bool cs_session_certificate_id(struct cs_session *s, const char *name_or_id, const char *owner, cs_uuid ret,
                               struct cs_err *err) {
    if (cs_uuid_valid(name_or_id, strlen(name_or_id))) {
        memcpy(ret, name_or_id, sizeof(cs_uuid));
        return true;
    }
    if (!s->settings->api_url[0])
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                          "\"%s\" is a name, and only the API knows its id: set api.url (CERTSYNC_API_URL), "
                          "or give the id itself",
                          cs_quoted(name_or_id));
    CS_AUTO(cs_buf_clear) struct cs_buf path;
    cs_buf_init(&path, 4096);
    cs_client_put_account(&path, s->account, "/certificates");
    cs_client_put_segment(&path, name_or_id);
    cs_client_put_query(&path, "owner", owner);
    json_t *item;
    if (!cs_buf_ok(&path, err) || !cs_session_client(s, err) ||
        !cs_client_get(s->client, (const char *)path.data, 0, &item, err))
        return false;
    const char *id = json_string_value(json_object_get(item, "id"));
    bool ok = id && cs_uuid_valid(id, strlen(id));
    if (ok)
        memcpy(ret, id, sizeof(cs_uuid));
    else
        cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE, "the API's answer has no id");
    json_decref(item);
    return ok;
}

bool cs_session_spool(struct cs_session *s, struct cs_spool **ret, struct cs_err *err) {
    struct cs_spool_limits limits = {s->settings->spool_max_events, s->settings->spool_max_bytes};
    return cs_spool_open(s->settings->spool, s->kid, &limits, ret, err);
}
