// SPDX-License-Identifier: Apache-2.0
//
// [watch NAME] sections: what they say (settings rows), and what follows (patterns, policy), with
// presets filled in.
#pragma once

#include "certsync/runtime/settings.h"
#include "daemon/guarded.h"

#define CS_WATCH_SECTIONS_MAX 64

struct cs_watch_settings {
    char *name; // must be first
    int64_t preset;
    char *path;
    char *certificate;
    char *key;
    char *chain;
    char *encrypt_certificate;
    char *encrypt_key;
    char *encrypt_chain;
    char *combined;
    char *pairs;
    char *as;
    struct cs_list tags;
    int64_t name_taken; // 0: host, 1: refuse
    bool remove;
    int64_t remove_after_ms;
    bool links;
    struct cs_list owners;
    int64_t max_size;
};
enum { CS_WATCH_ROWS = 18 };
extern const struct cs_setting cs_watch_rows[CS_WATCH_ROWS];
// For the settings' check of the whole group.
CS_MUST_USE bool cs_sections_check(const struct cs_settings_items *items, struct cs_err *err);

struct cs_section_files {
    char *certificate; // pattern
    // expanded with what the certificate's path matched; NULL: it is in the certificate's file
    char *key;
    char *chain; // the same; NULL: none. May be missing on disk
    char *encrypt_certificate, *encrypt_key,
        *encrypt_chain; // of an SM2 pair; the others are its signing half
    char *as;           // name in the catalog, from {name}
    bool only_with_key; // a certificate without its key is ignored
};
struct cs_section {
    const char *name;                 // borrowed from the settings
    struct cs_section_files files[2]; // in order: a certificate belongs to the first that matches
    size_t files_len;
    const char *pairs; // directory, or NULL; then files[0] has only `as`
    struct cs_file_policy policy;
    const struct cs_list *tags;
    bool name_taken_host; // register under NAME-HOST where another host has the name
    bool remove;
    int64_t remove_after_ms;
};
struct cs_sections {
    struct cs_section *items;
    size_t n;
};
// items (struct cs_watch_settings) are borrowed while the sections live. CONFIG errors begin with
// "[watch NAME]".
CS_MUST_USE bool cs_sections_new(const struct cs_settings_items *items, struct cs_sections *ret,
                                 struct cs_err *err);
void cs_sections_clear(struct cs_sections *s);
CS_DEFINE_AUTO_CLEAR(struct cs_sections, cs_sections_clear)
