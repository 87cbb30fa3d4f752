// SPDX-License-Identifier: Apache-2.0
//
// Patterns of file paths in [watch] sections, e.g. /etc/letsencrypt/live/{name}/fullchain.pem:
// absolute; "{name}" stands for one or more characters of one path component, the same wherever it
// comes again; "*" for any characters of one component. Neither matches a dot at a component's
// beginning, so that hidden files and Kubernetes' "..data" are not taken for names.
#pragma once

#include "certsync/base/err.h"

#define CS_STARS_MAX 4
#define CS_STAR_SIZE 256

struct cs_match {
    bool has_name;
    char name[CS_STAR_SIZE]; // longer than the catalog's names may be: who asks can say so
    size_t stars_len;
    char stars[CS_STARS_MAX][CS_STAR_SIZE];
};
// CONFIG, in words, where the text is not a pattern.
CS_MUST_USE bool cs_path_pattern_check(const char *pattern, struct cs_err *err);
// Whether the component matches len bytes of pattern. m holds what components before it stood for,
// and gets what this one stands for; undefined after false.
bool cs_path_pattern_component(const char *pattern, size_t len, const char *text, struct cs_match *m);
// Whether path is what the pattern stands for, or a leading part of it in whole components.
bool cs_path_pattern_leads(const char *pattern, const char *path);
// Whether path is what the pattern stands for; m gets what its parts stood for.
bool cs_path_pattern_match(const char *pattern, const char *path, struct cs_match *m);
// Puts the name for {name}, the stars' texts in order for '*'. False where it does not fit or
// something is missing.
CS_MUST_USE bool cs_path_pattern_expand(const char *pattern, const struct cs_match *m, char *out,
                                        size_t size);
bool cs_path_pattern_has_name(const char *pattern);
