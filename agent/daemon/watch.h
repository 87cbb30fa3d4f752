// SPDX-License-Identifier: Apache-2.0
//
// Watching directories (inotify(7)). Directories, not files: files are replaced by renames, links
// are swapped. One thread's.
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
// Watches a directory; nothing is done where it is watched already. False where it cannot be: RETRY
// where it is gone, CONFIG where the kernel's limit is reached or there is no permission.
CS_MUST_USE bool cs_watch_add(struct cs_watch *w, const char *directory, struct cs_err *err);
// Watches again what the paths lead to now: of a link or a mount on the way to a directory no event
// comes.
void cs_watch_renew(struct cs_watch *w);
// Compares the directories with what they were at the last call, for changes that the kernel does
// not tell of: a mount over one, a link on the way to it, entries on a network file system. on_lost
// where there is one.
void cs_watch_poll(struct cs_watch *w);
size_t cs_watch_count(const struct cs_watch *w);
// Takes what the kernel has; call it when the descriptor is readable. Never blocks.
void cs_watch_read(struct cs_watch *w);
