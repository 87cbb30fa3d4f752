// SPDX-License-Identifier: Apache-2.0
//
// Between the files of the fixture.
#pragma once

#include <string.h>

#include "fixture.h"

#define CS_COPY_TEXT(array, text)                                                                            \
    do {                                                                                                     \
        const char *copied_ = (text);                                                                        \
        assert_true(strlen(copied_) < sizeof(array));                                                        \
        memcpy((array), copied_, strlen(copied_) + 1);                                                       \
    } while (0)

EVP_PKEY *fx_evp_generate(const char *type);
struct cs_bytes fx_make_ca(struct fx *fx, EVP_PKEY *key, const char *name);
