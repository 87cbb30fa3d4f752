// SPDX-License-Identifier: Apache-2.0
//
// The catalog in the Redis that the settings name, with the service's key that authenticates what
// is in it.
#pragma once

#include "catalog/catalog.h"
#include "settings.h"

// The settings must outlive it. CONFIG where deployment.service_key cannot be read.
CS_MUST_USE bool cs_catalog_of(const struct cs_consumer_settings *s, const char *log_id,
                               struct cs_catalog **ret, struct cs_err *err);
