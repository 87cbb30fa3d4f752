// SPDX-License-Identifier: Apache-2.0
//
// All text for people goes through here: a stream that writes to another one. It shows characters
// that a terminal would obey, or not show at all (controls, marks that turn the direction of text,
// characters of no width), as \u202E. Names, subjects, labels and paths come from others. Line
// feeds, tabs and bold type pass. JSON keeps its meaning: \u202E is the same there.
#pragma once

#include <stdbool.h>
#include <stdio.h>

// Writes to `to`, which must outlive it. buffered: as for a file; else at once, for messages. NULL:
// out of memory. fclose ends it and leaves `to` open.
FILE *cs_terminal_open(FILE *to, bool buffered);
