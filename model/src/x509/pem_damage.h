// SPDX-License-Identifier: Apache-2.0
//
// What is wrong with a text that has BEGIN and END, but in which PEM cannot be read. Keys and
// certificates are damaged on their way: by clipboards, environment variables, JSON, mail, word
// processors.
#pragma once

#include "certsync/base/err.h"

enum pem_damage {
    DAMAGE_NONE,
    DAMAGE_JSON,     // a string of JSON, with \n for line breaks
    DAMAGE_ESCAPED,  // \n for line breaks
    DAMAGE_SPACES,   // spaces for line breaks
    DAMAGE_JOINED,   // no line breaks, or text beside a BEGIN or END line
    DAMAGE_QUOTED,   // > before each line
    DAMAGE_DIFF,     // + before each line
    DAMAGE_DASHES,   // other than five dashes around BEGIN LABEL or END LABEL
    DAMAGE_NO_BEGIN, // only an END line
};

enum pem_damage pem_damage(struct cs_bytes text);

// What is wrong, and the command that mends it. Never quotes the text.
const char *pem_damage_sentence(enum pem_damage d);
