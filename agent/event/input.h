// SPDX-License-Identifier: Apache-2.0
//
// What a person names on the command line: a file, or "-" for standard input. It is read once, at
// most CS_PEM_FILE_MAX bytes and one more (so that the parser can say that it is too large). Any of
// these files may hold a private key. So the memory is its own, locked if the system allows it, not
// dumped, and wiped at release.
#pragma once

#include "certsync/base/err.h"

struct cs_input {
    // as in messages: the path as given, or "standard input"; borrowed from the caller
    const char *label;
    struct cs_bytes bytes;
    void *map; // internal
};

enum cs_input_flags {
    CS_INPUT_STDIN = 1,   // "-" means standard input
    CS_INPUT_PRIVATE = 2, // others must not be able to read it: see secretmode.h
};
// REJECT errors (without a code) that name the file, because a person wanted to send it. Pipes are
// read to their end (process substitution). Directories are refused.
CS_MUST_USE bool cs_input_read(const char *path, unsigned flags, struct cs_input *ret, struct cs_err *err);
void cs_input_clear(struct cs_input *in);
CS_DEFINE_AUTO_CLEAR(struct cs_input, cs_input_clear)
