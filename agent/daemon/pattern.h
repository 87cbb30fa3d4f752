// SPDX-License-Identifier: Apache-2.0
//
// Patterns of file paths in [watch] sections, e.g. /etc/letsencrypt/live/{name}/fullchain.pem. They
// are absolute. "{name}" stands for one or more characters of one path component, the same each
// time. "*" stands for any characters of one component. Neither matches a dot at the start of a
// component: hidden files and Kubernetes' "..data" are no names.
#pragma once

#include "certsync/base/err.h"

#define CS_STARS_MAX 4
#define CS_STAR_SIZE 256

struct cs_match {
    bool has_name;
    char name[CS_STAR_SIZE]; // longer than the catalog's names may be, so that the caller can say so
    size_t stars_len;
    char stars[CS_STARS_MAX][CS_STAR_SIZE];
};
// CONFIG, in words, if the text is no pattern.
CS_MUST_USE bool cs_path_pattern_check(const char *pattern, struct cs_err *err);
// Whether the component matches len bytes of pattern. m holds what earlier components stood for,
// and gets what this one stands for. It is undefined after false.
bool cs_path_pattern_component(const char *pattern, size_t len, const char *text, struct cs_match *m);
// Whether path matches the pattern, or its beginning in whole components.
bool cs_path_pattern_leads(const char *pattern, const char *path);
// Whether path matches the pattern. m gets what the parts stood for.
bool cs_path_pattern_match(const char *pattern, const char *path, struct cs_match *m);
// Puts the name for {name}, and the stars' texts in order for '*'. False if it does not fit, or
// something is missing.
CS_MUST_USE bool cs_path_pattern_expand(const char *pattern, const struct cs_match *m, char *out,
                                        size_t size);
bool cs_path_pattern_has_name(const char *pattern);
