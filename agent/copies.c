// SPDX-License-Identifier: Apache-2.0
#include "copies.h"

#include <ctype.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

#include "certsync/model/err.h"

static bool begins(const char *text, const char *with) {
    return strncasecmp(text, with, strlen(with)) == 0;
}

// "old", "backup2", "bak-3", and nothing after it.
static bool is_copy_word(const char *text, size_t len) {
    static const char *const words[] = {"old",  "bak",   "backup", "orig",     "original", "copy",
                                        "save", "saved", "prev",   "previous", "last"};
    for (size_t i = 0; i < CS_ARRAY_LEN(words); i++) {
        size_t n = strlen(words[i]);
        if (len < n || strncasecmp(text, words[i], n) != 0)
            continue;
        while (n < len && (isdigit((unsigned char)text[n]) || strchr("-_.", text[n])))
            n++;
        if (n == len)
            return true;
    }
    return false;
}

// What stands between the original's stem and its ending.
static bool marks_copy(const char *text, size_t len) {
    if (len > 2 && strncmp(text, " (", 2) == 0 && text[len - 1] == ')')
        return true; // (copy), (2), (3rd copy)
    if (begins(text, " - copy") || begins(text, " copy"))
        return true;
    return len > 1 && strchr(".-_", text[0]) && is_copy_word(text + 1, len - 1);
}

bool cs_is_copy_of(const char *name, const char *original) {
    size_t len = strlen(name), whole = strlen(original);
    if (len <= whole)
        return false;
    if (begins(name, "copy of ") && strcmp(name + strlen("copy of "), original) == 0)
        return true;
    // The whole name, and something after it; "www" and "www.crt" are two files.
    const char *dot = strrchr(original, '.');
    if (!dot || dot == original)
        return false;
    if (strncmp(name, original, whole) == 0)
        return !isalnum((unsigned char)name[whole]);
    size_t stem = (size_t)(dot - original), ending = whole - stem;
    return strncmp(name, original, stem) == 0 && strcmp(name + len - ending, dot) == 0 &&
           marks_copy(name + stem, len - whole);
}
