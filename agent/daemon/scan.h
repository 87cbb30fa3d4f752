// SPDX-License-Identifier: Apache-2.0
//
// Finding certificate files. From a section's patterns it finds candidates (which certificate, key
// and chain file belong together, and under which name), and the directories whose changes matter.
// It looks only at names, except in a directory of pairs: there the files themselves say what
// belongs together.
#pragma once

#include "certsync/model/key.h"
#include "daemon/section.h"

struct cs_candidate {
    const struct cs_section *section;
    const char *name; // in the catalog; not checked
    const char *certificate;
    const char *key;   // NULL: none was found (pairs); the same as certificate: one file
    const char *chain; // NULL: none
    const char *encrypt_certificate, *encrypt_key, *encrypt_chain; // of an SM2 pair; else NULL
};

struct cs_scan_hooks {
    void (*on_candidate)(void *arg, const struct cs_candidate *c); // borrowed for the call
    void (*on_directory)(void *arg, const char *path);             // to be watched
    bool (*is_known)(void *arg, const char *certificate);          // found before; NULL: none was
    // What a person must know: a path that does not exist, cannot be read, or belongs to nothing.
    void (*on_problem)(void *arg, const struct cs_section *s, const struct cs_err *err);
    void *arg;
};
// crypto and buffer are used only for directories of pairs. False: not everything could be seen
// (on_problem was told), or there is no directory to look into. Then what is not found is not
// necessarily gone.
bool cs_scan_section(const struct cs_section *section, struct cs_crypto *crypto, struct cs_guarded *buffer,
                     const struct cs_scan_hooks *hooks);
// A name of the catalog from a file's. The "*" of a wildcard (acme.sh's *.example.com_ecc) becomes
// "_", as lego writes it.
void cs_scan_name(char *name);
// Watches the directory, or the nearest existing one above it: then its creation is reported.
void cs_scan_watch(const struct cs_scan_hooks *h, const char *path);
// Whether a change of this path can bring a new candidate.
bool cs_scan_concerns(const struct cs_section *section, const char *path);
