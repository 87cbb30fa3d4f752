// SPDX-License-Identifier: Apache-2.0
//
// A change in the file system is not acted on at once: whoever writes a pair writes several files.
// The items and sections that it concerns are looked at when nothing has changed for
// agent.debounce.
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "certsync/runtime/log.h"
#include "daemon/internal.h"

void engine_discover_soon(struct cs_engine *e, const struct cs_section *section) {
    size_t index = engine_section_index(e, section);
    if (e->discover_ms[index] == 0)
        e->discover_ms[index] = engine_now(e) + e->session.settings->debounce_ms;
}

void engine_on_change(void *arg, const char *directory, const char *name) {
    struct cs_engine *e = arg;
    char path[PATH_MAX];
    int64_t due = engine_now(e) + e->session.settings->debounce_ms;
    if (snprintf(path, sizeof path, "%s/%s", strcmp(directory, "/") == 0 ? "" : directory, name) >=
        (int)sizeof path)
        return;
    bool matched = false;
    for (const struct cs_index_entry *at = cs_index_first(&e->reg.by_step, cs_index_key(path)); at;
         at = cs_index_next(at)) {
        struct cs_item *item = at->value;
        item->attempts = 0;
        engine_queue(e, item, due);
        matched = true;
    }
    for (size_t i = 0; i < e->sections.n; i++) {
        bool pairs = e->sections.items[i].pairs != NULL;
        if ((!matched || pairs) && cs_scan_concerns(&e->sections.items[i], path))
            engine_discover_soon(e, &e->sections.items[i]);
    }
    engine_arm(e);
}

void engine_on_lost(void *arg, const char *why) {
    struct cs_engine *e = arg;
    int64_t due = engine_now(e) + e->session.settings->debounce_ms;
    cs_log(CS_LOG_INFO, "looking at everything again", "reason=%s", why);
    cs_timer_reset(e->rescan, due - engine_now(e));
}
