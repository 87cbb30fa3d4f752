// SPDX-License-Identifier: Apache-2.0
//
// Edits of JSON texts for the codec's tests, by paths such as "data.chain[1]": made with jansson, so that the
// tests do not trust what they test. Every function returns a text that the caller frees.
#pragma once

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// The object or array that holds the last step of path; that step into *ret_last (index -1: a member).
static inline json_t *json_edit_parent(json_t *root, const char *path, char ret_last[80], int *ret_index) {
    json_t *at = root;
    const char *p = path;
    for (;;) {
        size_t n = strcspn(p, ".[");
        if (n > 0) {
            snprintf(ret_last, 80, "%.*s", (int)n, p);
            *ret_index = -1;
            p += n;
            if (*p == '\0')
                return at;
            at = json_object_get(at, ret_last);
        }
        if (*p == '.') {
            p++;
        } else if (*p == '[') {
            *ret_index = atoi(p + 1);
            p = strchr(p, ']') + 1;
            if (*p == '\0')
                return at;
            at = json_array_get(at, (size_t)*ret_index);
        }
        if (!at) {
            fprintf(stderr, "no such path: %s\n", path);
            abort();
        }
    }
}

static inline char *json_edit_dump(json_t *root) {
    char *text = json_dumps(root, JSON_COMPACT | JSON_ENCODE_ANY);
    json_decref(root);
    return text;
}

static inline json_t *json_edit_load(const char *text) {
    json_error_t error;
    json_t *root = json_loads(text, JSON_DECODE_ANY, &error);
    if (!root) {
        fprintf(stderr, "%s in %s\n", error.text, text);
        abort();
    }
    return root;
}

// Sets what lies at path, a member that may be new or an item that is there, to a JSON value. A new member is
// the last one.
static inline char *json_edit_set(const char *text, const char *path, const char *value) {
    char last[80];
    int index;
    json_t *root = json_edit_load(text), *parent = json_edit_parent(root, path, last, &index);
    json_t *v = json_edit_load(value);
    if (index < 0)
        json_object_set_new(parent, last, v);
    else
        json_array_set_new(parent, (size_t)index, v);
    return json_edit_dump(root);
}

static inline char *json_edit_remove(const char *text, const char *path) {
    char last[80];
    int index;
    json_t *root = json_edit_load(text), *parent = json_edit_parent(root, path, last, &index);
    if (index < 0 ? json_object_del(parent, last) : json_array_remove(parent, (size_t)index))
        abort();
    return json_edit_dump(root);
}

// The same member twice, the second one last in its object.
static inline char *json_edit_double(const char *text, const char *path) {
    static const char marker[] = "__again__";
    char last[80], name[100];
    int index;
    json_t *root = json_edit_load(text), *parent = json_edit_parent(root, path, last, &index);
    json_object_set(parent, marker, json_object_get(parent, last));
    char *with_marker = json_edit_dump(root), *at = strstr(with_marker, marker);
    snprintf(name, sizeof name, "%s", last);
    size_t before = (size_t)(at - with_marker), size = strlen(with_marker) + strlen(name) + 1;
    char *out = malloc(size);
    if (!out)
        abort();
    snprintf(out, size, "%.*s%s%s", (int)before, with_marker, name, at + strlen(marker));
    free(with_marker);
    return out;
}
