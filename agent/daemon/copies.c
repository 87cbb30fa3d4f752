// SPDX-License-Identifier: Apache-2.0
#include "daemon/copies.h"

#include <ctype.h>
#include <limits.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

#include "certsync/base/err.h"

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

// The text between the original's stem and its ending.
static bool marks_copy(const char *text, size_t len) {
    if (len > 2 && strncmp(text, " (", 2) == 0 && text[len - 1] == ')')
        return true; // (copy), (2), (3rd copy)
    if (begins(text, " - copy") || begins(text, " copy"))
        return true;
    return len > 1 && strchr(".-_", text[0]) && is_copy_word(text + 1, len - 1);
}

bool cs_is_copy(const char *name, bool (*is_there)(void *arg, const char *original), void *arg) {
    static const char prefix[] = "copy of ";
    char original[NAME_MAX + 1];
    size_t len = strlen(name);
    const char *ending = strrchr(name, '.');
    if (len > NAME_MAX)
        return false;
    if (begins(name, prefix) && is_there(arg, name + sizeof prefix - 1))
        return true;
    for (size_t i = 1; i < len; i++) {
        memcpy(original, name, i);
        // The whole name with something after it. "www" and "www.crt" are two files.
        original[i] = '\0';
        if (!isalnum((unsigned char)name[i]) && strchr(original + 1, '.') && is_there(arg, original))
            return true;
        size_t mark = ending ? (size_t)(ending - name) : 0;
        if (mark <= i || !marks_copy(name + i, mark - i))
            continue;
        memcpy(original + i, ending, len - mark + 1);
        if (is_there(arg, original))
            return true;
    }
    return false;
}
