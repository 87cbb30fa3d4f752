// SPDX-License-Identifier: Apache-2.0
//
// What a search costs in the index (api/index.h), beside the reading of what it found: one account with 1,000 and
// with 100,000 certificates, and 10,000 accounts with 10 each. Each question is asked many times; the median is told.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "api/index.h"
#include "bench_must.h"

#define NOW_S  INT64_C(1800000000)
#define DAY_S  86400
#define ROUNDS 31

static int64_t now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void put(struct api_index *x, unsigned account, unsigned i) {
    struct cs_err err;
    char text[3][80], id[40];
    char *names[] = {text[0], text[1]};
    struct cs_cert_summary s = {
        .algorithm = CS_ALGORITHM_INTERNATIONAL, .source = CS_SOURCE_UPLOADED, .leaves_len = 1};
    struct cs_leaf *leaf = &s.leaves[0];
    snprintf(text[0], sizeof text[0], "host-%u.zone%u.example.com", i, i % 1000);
    snprintf(text[1], sizeof text[1], "www.zone%u.example.com", i % 1000);
    snprintf(text[2], sizeof text[2], "account-%05u", account);
    snprintf(s.name, sizeof s.name, "host-%u.zone%u", i, i % 1000);
    snprintf(id, sizeof id, "%08x-0000-7000-8000-000000000000", i);
    memcpy(leaf->sha256, &i, sizeof i);
    snprintf(leaf->serial, sizeof leaf->serial, "%08x", i);
    leaf->not_before_s = NOW_S - DAY_S;
    leaf->not_after_s = NOW_S + 3600 + (int64_t)(i % 8760) * 3600;
    leaf->key_type = i % 4 ? CS_KEY_P256 : CS_KEY_RSA;
    leaf->key_bits = i % 4 ? 256 : 2048;
    leaf->issuer = i % 100 ? "CN=R3,O=Common CA,C=US" : "CN=Rare CA";
    leaf->names = names;
    leaf->names_len = leaf->names_total = 2;
    s.tags.len = 1;
    snprintf(s.tags.tag[0], sizeof s.tags.tag[0], "team-%u", i % 50);
    MUST(api_index_put(x, (int32_t)(account % 24), text[2], "", id, &s, &err));
}

static int compare(const void *a, const void *b) {
    const int64_t *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

static void ask(struct api_index *x, const char *account, const char *parameter, const char *value,
                int64_t hours) {
    static struct api_hit hits[100];
    struct api_filter f = {.within_s = hours * 3600, .has_status = hours > 0, .status = API_EXPIRING};
    struct api_index_answer a = {.hits = hits};
    const char *problem = NULL;
    struct cs_err err;
    int64_t us[ROUNDS];
    if (value)
        (void)api_filter_take(&f, parameter, value, &problem);
    struct api_index_query q = {.filter = &f, .account = account, .now_s = NOW_S, .limit = 100};
    for (size_t i = 0; i < ROUNDS; i++) {
        int64_t began_us = now_us();
        MUST(api_index_ask(x, &q, &a, &err));
        us[i] = now_us() - began_us;
    }
    qsort(us, ROUNDS, sizeof us[0], compare);
    q.count = true;
    int64_t began_us = now_us();
    MUST(api_index_ask(x, &q, &a, &err));
    printf("  %-12s %-26s %4zu of %s%-7" PRId64 " %8" PRId64 " us   with count %8" PRId64 " us\n", parameter,
           value ? value : "", a.len, a.total_exact ? "" : ">", a.total, us[ROUNDS / 2], now_us() - began_us);
}

static void run(unsigned accounts, unsigned each) {
    struct api_index *x = NULL;
    struct cs_err err;
    MUST(api_index_new(&x, &err));
    int64_t began_us = now_us();
    MUST(api_index_begin(x, &err));
    for (unsigned a = 0; a < accounts; a++)
        for (unsigned i = 0; i < each; i++)
            put(x, a, a * each + i);
    MUST(api_index_end(x, &err));
    double n = (double)accounts * each;
    printf("%u accounts, %u certificates each: made in %.1f us a certificate, %.0f bytes each\n", accounts,
           each, (double)(now_us() - began_us) / n, (double)api_index_bytes(x) / n);
    for (int all = accounts > 1; all >= 0; all--) {
        const char *account = all ? "" : "account-00000";
        printf(" %s\n", all ? "all accounts" : "one account");
        ask(x, account, "serial", "000000ff", 0);
        ask(x, account, "dns", "host-7.zone7.example.com", 0);
        ask(x, account, "dns", "*.zone7.example.com", 0);
        ask(x, account, "issuer", "Rare CA", 0);
        ask(x, account, "issuer", "Common CA", 0);
        ask(x, account, "key_type", "P-256", 0);
        ask(x, account, "tag", "team-7", 0);
        ask(x, account, "part", "t-99.z", 0);
        ask(x, account, "within hours", NULL, 24);
        ask(x, account, "within hours", NULL, 4000);
    }
    api_index_free(x);
}

int main(void) {
    run(1, 1000);
    run(1, 100000);
    run(10000, 10);
    return 0;
}
