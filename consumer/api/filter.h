// SPDX-License-Identifier: Apache-2.0
//
// What a question for certificates asks, and the words by which a certificate is found. A word is a kind and a
// text: the index (api/index.h) lists them, and the same words say of a document that was read whether it is
// what was asked for. So both always mean the same.
//
//   'd' a DNS name, in lower case      'p' its parent: "example.com" of "www.example.com" and "*.example.com"
//   'i' the issuer's whole name, its common name, its organization; in lower case
//   's' serial number (hex)            'f' SHA-256 of the certificate (hex)
//   'k' key type, with its size: "RSA" and "RSA-2048"
//   't' a tag                          'n' three characters of the catalog's name, in lower case
// Each leaf of a pair has its words.
#pragma once

#include "certsync/model/entry.h"

#define API_WORD_MAX    512
#define API_PART_MIN    3 // characters of ?part=
#define API_FILTERS_MAX 8

enum api_status { API_VALID = 1, API_EXPIRING, API_EXPIRED, API_NOT_YET_VALID };

// Calls put for each word, some perhaps more than once.
void api_words(const struct cs_cert_summary *s, void (*put)(void *arg, char kind, const char *text),
               void *arg);

// One word of these must be there.
struct api_wanted {
    const char *parameter;
    char kind[2];
    char text[2][API_WORD_MAX + 1];
    size_t len; // 1 or 2
};

struct api_filter {
    char prefix[CS_NAME_MAX + 1]; // of the name; "": any
    char part[CS_NAME_MAX + 1];   // in lower case; its three-letter words are not among wanted
    bool has_source, has_status, has_algorithm;
    enum cs_source source;
    enum api_status status;
    enum cs_algorithm algorithm;
    int64_t within_s;
    size_t wanted_len;
    struct api_wanted wanted[API_FILTERS_MAX];
};
// Whether it needs the index.
static inline bool api_filter_searches(const struct api_filter *f) {
    return f->wanted_len > 0 || f->part[0];
}
// A query parameter that is found by words. *ret_problem: what is wrong with the value, or NULL. False: it is no
// such parameter.
bool api_filter_take(struct api_filter *f, const char *parameter, const char *value,
                     const char **ret_problem);
// The parameters of api_filter_take, NULL-terminated.
extern const char *const api_filter_parameters[];
// Whether a document is what was asked for.
bool api_filter_passes(const struct api_filter *f, const struct cs_cert_summary *s, bool shared,
                       int64_t now_s);
enum api_status api_status_of(const struct cs_cert_summary *s, int64_t now_s, int64_t within_s);
int64_t api_starts(const struct cs_cert_summary *s); // when all its leaves are valid
