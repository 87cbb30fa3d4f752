// SPDX-License-Identifier: Apache-2.0
#include "bench_keys.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/param_build.h>
#include <stdlib.h>

#include "bench_must.h"

#define PRIME_BITS 1024
#define EXPONENT   65537

struct bench_primes {
    size_t len;
    size_t p, q; // the next pair; p < q
    BN_CTX *ctx;
    BIGNUM *e;
    BIGNUM *prime[];
};

// One whose predecessor e does not divide, so that e has an inverse.
static BIGNUM *new_prime(void) {
    BIGNUM *p = BN_new();
    MUST(p);
    do
        MUST(BN_generate_prime_ex(p, PRIME_BITS, 0, NULL, NULL, NULL));
    while (BN_mod_word(p, EXPONENT) == 1 || !BN_is_bit_set(p, PRIME_BITS - 2));
    return p;
}

struct bench_primes *bench_primes_new(size_t keys) {
    size_t n = 2;
    while (n * (n - 1) / 2 < keys)
        n++;
    struct bench_primes *s = calloc(1, sizeof *s + n * sizeof(BIGNUM *));
    MUST(s);
    s->len = n;
    s->q = 1;
    MUST(s->ctx = BN_CTX_new());
    MUST(s->e = BN_new());
    MUST(BN_set_word(s->e, EXPONENT));
    for (size_t i = 0; i < n; i++)
        s->prime[i] = new_prime();
    return s;
}

void bench_primes_free(struct bench_primes *s) {
    if (!s)
        return;
    for (size_t i = 0; i < s->len; i++)
        BN_free(s->prime[i]);
    BN_free(s->e);
    BN_CTX_free(s->ctx);
    free(s);
}

// RFC 8017 section 3.2: n, e, d, and for the Chinese remainders p, q, d mod (p-1), d mod (q-1), q^-1 mod p.
enum { N, E, D, P, Q, DP, DQ, QI, NUMBERS };
static const char *const names[NUMBERS] = {OSSL_PKEY_PARAM_RSA_N,         OSSL_PKEY_PARAM_RSA_E,
                                           OSSL_PKEY_PARAM_RSA_D,         OSSL_PKEY_PARAM_RSA_FACTOR1,
                                           OSSL_PKEY_PARAM_RSA_FACTOR2,   OSSL_PKEY_PARAM_RSA_EXPONENT1,
                                           OSSL_PKEY_PARAM_RSA_EXPONENT2, OSSL_PKEY_PARAM_RSA_COEFFICIENT1};

static EVP_PKEY *from_numbers(BIGNUM *const v[NUMBERS]) {
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
    EVP_PKEY *key = NULL;
    MUST(builder && ctx && EVP_PKEY_fromdata_init(ctx) == 1);
    for (size_t i = 0; i < NUMBERS; i++)
        MUST(OSSL_PARAM_BLD_push_BN(builder, names[i], v[i]));
    OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(builder);
    MUST(params && EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_KEYPAIR, params) == 1);
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(builder);
    EVP_PKEY_CTX_free(ctx);
    return key;
}

EVP_PKEY *bench_rsa_key(struct bench_primes *s) {
    BIGNUM *v[NUMBERS] = {[E] = s->e, [P] = s->prime[s->p], [Q] = s->prime[s->q]};
    BN_CTX_start(s->ctx);
    BIGNUM *p1 = BN_CTX_get(s->ctx), *q1 = BN_CTX_get(s->ctx), *phi = BN_CTX_get(s->ctx);
    for (size_t i = 0; i < NUMBERS; i++)
        if (!v[i])
            MUST(v[i] = BN_CTX_get(s->ctx));
    MUST(BN_mul(v[N], v[P], v[Q], s->ctx) && BN_sub(p1, v[P], BN_value_one()) &&
         BN_sub(q1, v[Q], BN_value_one()) && BN_mul(phi, p1, q1, s->ctx));
    MUST(BN_mod_inverse(v[D], s->e, phi, s->ctx) && BN_mod(v[DP], v[D], p1, s->ctx) &&
         BN_mod(v[DQ], v[D], q1, s->ctx) && BN_mod_inverse(v[QI], v[Q], v[P], s->ctx));
    EVP_PKEY *key = from_numbers(v);
    BN_CTX_end(s->ctx);
    if (++s->q == s->len) {
        s->p = s->p + 2 == s->len ? 0 : s->p + 1;
        s->q = s->p + 1;
    }
    return key;
}
