// SPDX-License-Identifier: Apache-2.0
#include "event/known_log.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "certsync/base/text.h"
#include "certsync/runtime/fileio.h"
#include "certsync/runtime/log.h"

#define MADE_UP  "dry-run"
#define BRIEF_MS 2000

static bool path_of(const struct cs_session *s, char out[PATH_MAX], struct cs_err *err) {
    int n = snprintf(out, PATH_MAX, "%s/%s.log", s->settings->spool, s->deployment);
    return n < PATH_MAX || cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                                      "agent.spool: %s: the path is too long", s->settings->spool);
}

// A spool that this user may not look into holds nothing for it.
static bool read_kept(const struct cs_session *s, cs_log_id ret, struct cs_err *err) {
    char path[PATH_MAX];
    cs_log_id kept = "";
    CS_AUTO(cs_buf_clear) struct cs_buf text;
    cs_buf_init(&text, 256);
    if (!path_of(s, path, err))
        return false;
    if (access(path, R_OK) < 0 && (errno == ENOENT || errno == EACCES || errno == ENOTDIR))
        return true;
    if (!cs_file_read(path, 0, &text, err))
        return false;
    size_t len = text.len > 0 && text.data[text.len - 1] == '\n' ? text.len - 1 : text.len;
    if (cs_log_id_valid((const char *)text.data, len))
        memcpy(kept, text.data, len);
    if (!cs_log_id_is_of(kept, s->deployment))
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                          "%s: this is not the id of a log of deployment %s; remove the file, and the next "
                          "contact with the API makes it again",
                          path, s->deployment);
    memcpy(ret, kept, sizeof kept);
    return true;
}

bool cs_known_log_recall(struct cs_session *s, const char *otherwise, struct cs_err *err) {
    const char *id = s->settings->deployment;
    bool dry = s->globals->dry_run;
    cs_log_id_deployment(id[0] ? id : dry ? MADE_UP : otherwise, s->deployment);
    memset(s->log_id, 0, sizeof s->log_id);
    if (cs_log_id_valid(id, strlen(id))) // a person's word
        memcpy(s->log_id, id, strlen(id));
    else if (s->deployment[0] && !read_kept(s, s->log_id, err))
        return false;
    if (dry && !s->log_id[0])
        cs_log_id_make(s->deployment, "00000000", s->log_id);
    return true;
}

void cs_known_log_keep(const struct cs_session *s) {
    char path[PATH_MAX], text[CS_LOG_ID_MAX + 2];
    cs_log_id kept = "";
    struct cs_err err;
    int n = snprintf(text, sizeof text, "%s\n", s->log_id);
    if (s->globals->dry_run || (read_kept(s, kept, &err) && strcmp(kept, s->log_id) == 0))
        return;
    if (!(path_of(s, path, &err) && cs_dir_make(s->settings->spool, 0700, &err) &&
          cs_file_write_given(path, (struct cs_bytes){(const uint8_t *)text, (size_t)n}, 0644, &err)))
        cs_log_err(CS_LOG_WARN, "the log's id cannot be kept", &err, "log=%s", s->log_id);
}

// "" where the API does not say.
static bool ask(struct cs_session *s, cs_log_id ret, struct cs_err *err) {
    json_t *answer;
    memset(ret, 0, sizeof(cs_log_id));
    if (!cs_session_client(s, err))
        return false;
    // An API that hangs may not keep what is known from being published.
    bool brief = s->log_id[0] && s->settings->api_timeout_ms > BRIEF_MS;
    cs_client_set_timeout(s->client, brief ? BRIEF_MS : s->settings->api_timeout_ms);
    bool answered = cs_client_get(s->client, "/v1/log", 0, &answer, err);
    cs_client_set_timeout(s->client, s->settings->api_timeout_ms);
    if (!answered)
        return false;
    const char *id = cs_member_text(answer, "log");
    bool ok = cs_log_id_valid(id, strlen(id));
    if (ok)
        memcpy(ret, id, strlen(id));
    else
        cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE, "api.url %s: what answers there names no log",
                   s->settings->api_url);
    json_decref(answer);
    return ok;
}

static bool unknown(const struct cs_session *s, struct cs_err *err) {
    return cs_err_set(
        err, CS_ERR_CONFIG, CS_CODE_NONE,
        "which log of deployment %s this host works with is not known: set api.url, and it is asked "
        "for; or put the log's id, as certsync-consumer init tells it (%s_ and 8 digits), as id under "
        "[deployment] into the settings",
        s->deployment, s->deployment);
}

bool cs_known_log_meet(struct cs_session *s, struct cs_err *err) {
    cs_log_id said;
    bool known = s->log_id[0];
    bool explicitly = cs_log_id_valid(s->settings->deployment, strlen(s->settings->deployment));
    if (s->globals->dry_run)
        return true;
    if (!s->settings->api_url[0]) {
        if (explicitly)
            cs_known_log_keep(s);
        return known || unknown(s, err);
    }
    if (!ask(s, said, err)) {
        if (s->client && cs_client_foreign_log(s->client))
            return false;
        if (err->kind == CS_ERR_REJECT)
            err->kind = CS_ERR_CONFIG; // nothing is wrong with what is to be sent
        return known ||
               cs_err_prepend(err,
                              "which log of deployment %s this host works with is not known, and the "
                              "API cannot be asked",
                              s->deployment);
    }
    if (explicitly && strcmp(said, s->log_id) == 0)
        cs_known_log_keep(s); // a slip of the pen is not kept
    if (known)
        return true;
    if (!cs_log_id_is_of(said, s->deployment))
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                          "the API at %s serves log %s, which is not of deployment %s: correct api.url or "
                          "deployment.id",
                          s->settings->api_url, said, s->deployment);
    memcpy(s->log_id, said, sizeof said);
    cs_log(CS_LOG_INFO, "first contact with the log", "log=%s", s->log_id);
    cs_known_log_keep(s);
    return true;
}
