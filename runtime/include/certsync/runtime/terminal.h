// SPDX-License-Identifier: Apache-2.0
//
// What people read goes through here: a stream that writes to another one and shows what a terminal
// would obey, or would not show at all (controls, marks that turn the direction of text, characters
// of no width), as \u202E. Names, subjects, labels and paths come from others. Line feeds, tabs and
// bold type pass. JSON keeps its meaning: \u202E is the same there.
#pragma once

#include <stdbool.h>
#include <stdio.h>

// Writes to `to`, which must outlive it. buffered: as a file is; else at once, for messages. NULL:
// out of memory. fclose ends it and leaves `to` open.
FILE *cs_terminal_open(FILE *to, bool buffered);
