// SPDX-License-Identifier: Apache-2.0
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "certsync/base/grow.h"
#include "certsync/model/codes.h"
#include "certsync/runtime/log.h"
#include "daemon/internal.h"

void engine_watch(struct cs_engine *e, const char *directory) {
    struct cs_err err;
    if (cs_watch_add(e->watch, directory, &err) || err.kind == CS_ERR_RETRY || e->unwatched[0])
        return;
    snprintf(e->unwatched, sizeof e->unwatched, "%s", err.msg);
    e->changed = true;
    if (!e->unwatched_told)
        cs_log_err(CS_LOG_WARN, "a directory cannot be watched: only rescans will see its changes", &err,
                   "path=%s", directory);
    e->unwatched_told = true;
}

// --- the paths of an item

struct steps {
    struct cs_engine *engine;
    uint64_t *keys;
    size_t n, cap;
};

static void on_step(void *arg, const char *path) {
    struct steps *s = arg;
    uint64_t key = cs_index_key(path);
    char directory[PATH_MAX];
    const char *slash = strrchr(path, '/');
    snprintf(directory, sizeof directory, "%.*s", slash == path ? 1 : (int)(slash - path), path);
    engine_watch(s->engine, directory);
    for (size_t i = 0; i < s->n; i++)
        if (s->keys[i] == key)
            return;
    if (!CS_GROW(&s->keys, &s->cap, s->n + 1))
        return; // the next rescan sees its change
    s->keys[s->n++] = key;
}

void engine_follow(struct cs_engine *e, struct cs_item *item) {
    struct steps s = {.engine = e};
    const char *const paths[] = {item->certificate,         item->key,         item->chain,
                                 item->encrypt_certificate, item->encrypt_key, item->encrypt_chain};
    for (size_t i = 0; i < CS_ARRAY_LEN(paths); i++)
        if (paths[i] && (i == 0 || strcmp(paths[i], item->certificate) != 0))
            (void)cs_path_follow(paths[i], &e->place, on_step, &s);
    bool same = s.n == item->steps_len && s.n > 0 && memcmp(s.keys, item->steps, s.n * sizeof *s.keys) == 0;
    if (same) {
        free(s.keys);
        return;
    }
    for (size_t i = 0; i < item->steps_len; i++)
        cs_index_remove(&e->reg.by_step, item->steps[i], item);
    free(item->steps);
    item->steps = s.keys;
    item->steps_len = s.n;
    for (size_t i = 0; i < s.n; i++)
        if (!cs_index_put(&e->reg.by_step, s.keys[i], item))
            cs_log_msg(CS_LOG_WARN, "out of memory");
}

// --- looking through a section

static void on_directory(void *arg, const char *path) {
    engine_watch(arg, path);
}

static void on_problem(void *arg, const struct cs_section *s, const struct cs_err *err) {
    struct cs_engine *e = arg;
    if (!cs_findings_has(&e->findings[engine_section_index(e, s)], err->msg) &&
        !cs_findings_has(e->found_before, err->msg))
        cs_log_err(CS_LOG_WARN, "not everything is as the section says", err, "section=%s code=%s", s->name,
                   cs_code_name(err->code));
    cs_findings_add(&e->findings[engine_section_index(e, s)], err->msg);
}

static void on_candidate(void *arg, const struct cs_candidate *c) {
    struct cs_engine *e = arg;
    e->findings[engine_section_index(e, c->section)].certificates++;
    if (strlen(c->name) > CS_NAME_MAX) {
        struct cs_err err;
        cs_err_set(
            &err, CS_ERR_CONFIG, CS_CODE_NONE,
            "%s is passed over: its name would have %zu characters, of %d that a name may have; give the "
            "section another pattern, or the file a shorter name",
            c->certificate, strlen(c->name), CS_NAME_MAX);
        on_problem(e, c->section, &err);
        return;
    }
    struct cs_item *item = cs_register_item(&e->reg, c->certificate);
    bool waits = item && item->queue_at > 0;
    if (waits) // it may be created again under another name
        engine_unqueue(e, item);
    bool known = item && item->section && item->gone_ms == 0;
    // Two sections name the same file: the first section has it.
    if (known && item->section != c->section && item->section < c->section) {
        if (waits)
            engine_queue(e, item, item->due_ms);
        return;
    }
    item = cs_register_found(&e->reg, c);
    if (!item) {
        cs_log_msg(CS_LOG_ERROR, "out of memory");
        return;
    }
    item->scan = e->scan;
    item->gone_ms = 0;
    if (!known || waits)
        engine_queue(e, item, engine_now(e));
}

static bool is_known(void *arg, const char *certificate) {
    const struct cs_engine *e = arg;
    const struct cs_item *item = cs_register_item(&e->reg, certificate);
    return item && item->gone_ms == 0;
}

// A section that finds nothing watches nothing. That is reported.
static void on_nothing(struct cs_engine *e, const struct cs_section *s) {
    struct cs_err err;
    if (s->pairs)
        cs_err_set(&err, CS_ERR_CONFIG, CS_CODE_NONE, "%s: it holds no certificate (but CAs')", s->pairs);
    else
        cs_err_set(&err, CS_ERR_CONFIG, CS_CODE_NONE, "no file is there that this stands for: %s%s%s",
                   s->files[0].certificate, s->files_len > 1 ? ", " : "",
                   s->files_len > 1 ? s->files[1].certificate : "");
    on_problem(e, s, &err);
}

// Items whose files are gone. Items of the last run that were not found yet have no section.
static void find_gone(struct cs_engine *e, const struct cs_section *section) {
    for (size_t i = e->reg.n; i-- > 0;) { // from the end: dropping moves the last one
        struct cs_item *item = e->reg.items[i];
        if (!item->section && cs_scan_concerns(section, item->certificate))
            item->section = section;
        if (item->section == section && item->scan != e->scan)
            engine_gone(e, item);
    }
}

void engine_discover(struct cs_engine *e, size_t index) {
    const struct cs_section *section = &e->sections.items[index];
    const struct cs_scan_hooks hooks = {.on_candidate = on_candidate,
                                        .on_directory = on_directory,
                                        .is_known = is_known,
                                        .on_problem = on_problem,
                                        .arg = e};
    struct cs_findings before = e->findings[index];
    e->findings[index] = (struct cs_findings){0};
    e->found_before = &before;
    e->scan++;
    e->discover_ms[index] = 0;
    bool complete = cs_scan_section(section, e->session.crypto, &e->buffers[0], &hooks);
    if (e->findings[index].certificates == 0 && e->findings[index].n == 0)
        on_nothing(e, section);
    e->found_before = NULL;
    cs_findings_clear(&before);
    if (complete)
        find_gone(e, section);
    e->last_scan_ms = engine_wall(e);
    e->changed = true;
}

void engine_look_at_all(struct cs_engine *e) {
    int64_t now = engine_now(e);
    e->looking_ms = now > 0 ? now : 1;
    e->unwatched[0] = '\0';
    cs_watch_renew(e->watch);
    for (size_t i = 0; i < e->sections.n; i++)
        engine_discover(e, i);
    for (size_t i = 0; i < e->reg.n; i++)
        if (e->reg.items[i]->section && e->reg.items[i]->gone_ms == 0)
            engine_queue(e, e->reg.items[i], now);
    engine_arm(e);
}
