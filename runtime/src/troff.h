// SPDX-License-Identifier: Apache-2.0
//
// Text for manual pages.
#pragma once

#include "certsync/base/buf.h"

// Writes text so that troff prints it unchanged. '-' and '\\' have a meaning there, and so have
// dots and apostrophes at the start of a line. An empty line begins a paragraph.
void cs_troff_put(const char *text, struct cs_buf *out);
