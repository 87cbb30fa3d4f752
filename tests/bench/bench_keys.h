// SPDX-License-Identifier: Apache-2.0
//
// Keys of leafs for measurements, each a new one: a key that came again would be verified with what was kept
// of it, which real leafs seldom are. RSA keys of 2048 bits would take a tenth of a second each, so they are
// made of two primes out of a stock: good for a measurement, and for nothing else.
#pragma once

#include <openssl/evp.h>

struct bench_primes;
// A stock for `keys` different RSA keys. Ends the program where OpenSSL fails.
struct bench_primes *bench_primes_new(size_t keys);
void bench_primes_free(struct bench_primes *p);
// The next RSA-2048 key of the stock; from the beginning again after the last.
EVP_PKEY *bench_rsa_key(struct bench_primes *p);
