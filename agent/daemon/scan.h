// SPDX-License-Identifier: Apache-2.0
//
// Finding certificate files: from a section's patterns to candidates (which certificate, key and
// chain file belong together, and under which name), and to the directories whose changes matter.
// Nothing but names is looked at, except in a directory of pairs, where the files themselves say
// what belongs together.
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
    // What a person must know: a path that is not there, cannot be read, or belongs to nothing.
    void (*on_problem)(void *arg, const struct cs_section *s, const struct cs_err *err);
    void *arg;
};
// crypto and buffer are used for directories of pairs only. False where not everything could be
// seen (told to on_problem), or where there is no directory to look into: then what is not found
// need not be gone.
bool cs_scan_section(const struct cs_section *section, struct cs_crypto *crypto, struct cs_guarded *buffer,
                     const struct cs_scan_hooks *hooks);
// A name of the catalog from a file's: a wildcard's "*" (acme.sh's *.example.com_ecc) becomes "_",
// as lego has it.
void cs_scan_name(char *name);
// Has the directory watched, or the nearest above it that is there: then its coming is told.
void cs_scan_watch(const struct cs_scan_hooks *h, const char *path);
// Whether a change of this path can bring a new candidate.
bool cs_scan_concerns(const struct cs_section *section, const char *path);
