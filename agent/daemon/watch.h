// SPDX-License-Identifier: Apache-2.0
//
// Watching directories (inotify(7)). Not files: they are replaced by renames, and links are
// swapped. For one thread.
#pragma once

#include "certsync/base/err.h"

struct cs_watch;
struct cs_watch_hooks {
    // Something of this name in the directory was made, written and closed, renamed, removed, or
    // had its mode changed.
    void (*on_change)(void *arg, const char *directory, const char *name);
    // Events were lost, or a watched directory itself went away or moved: look at everything again.
    void (*on_lost)(void *arg, const char *why);
    void *arg;
};
CS_MUST_USE bool cs_watch_new(const struct cs_watch_hooks *hooks, struct cs_watch **ret, struct cs_err *err);
void cs_watch_free(struct cs_watch *w);
CS_DEFINE_AUTO(struct cs_watch, cs_watch_free)
int cs_watch_fd(const struct cs_watch *w);
// Watches a directory; does nothing if it is watched already. False if it cannot: RETRY if it is
// gone, CONFIG at the kernel's limit or without permission.
CS_MUST_USE bool cs_watch_add(struct cs_watch *w, const char *directory, struct cs_err *err);
// Watches again what the paths lead to now. A changed link or mount on the way to a directory gives
// no event.
void cs_watch_renew(struct cs_watch *w);
// Compares the directories with the last call, for changes that the kernel does not report: a mount
// over one, a link on the way, entries on a network file system. Then calls on_lost.
void cs_watch_poll(struct cs_watch *w);
size_t cs_watch_count(const struct cs_watch *w);
// Takes what the kernel has; call it when the descriptor is readable. Never blocks.
void cs_watch_read(struct cs_watch *w);
