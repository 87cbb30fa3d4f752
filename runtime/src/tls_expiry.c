// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE // timegm
#include "certsync/runtime/tls_expiry.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <time.h>

struct cs_metric *cs_tls_expiry_metric(struct cs_metrics *m) {
    static const char *const labels[] = {"file", NULL};
    return cs_metrics_gauge(
        m, "certsync_tls_certificate_expiry_seconds",
        "When the first certificate ends of a file that is in use, in seconds since 1970-01-01.", labels);
}

// Certificates are not encrypted: nobody is asked for a password.
static int no_password(char *buf, int size, int writing, void *arg) {
    (void)buf;
    (void)size;
    (void)writing;
    (void)arg;
    return -1;
}

bool cs_tls_first_end(const char *path, int64_t *ret_s) {
    bool found = false;
    BIO *in = BIO_new_file(path, "r");
    for (X509 *x; in && (x = PEM_read_bio_X509(in, NULL, no_password, NULL)); X509_free(x)) {
        struct tm tm;
        if (ASN1_TIME_to_tm(X509_get0_notAfter(x), &tm) != 1)
            continue;
        int64_t end_s = (int64_t)timegm(&tm);
        if (!found || end_s < *ret_s)
            *ret_s = end_s;
        found = true;
    }
    BIO_free(in);
    ERR_clear_error(); // the end of the file is one
    return found;
}

void cs_tls_expiry_set(struct cs_metric *metric, const char *path) {
    int64_t end_s = 0;
    struct cs_series *series = cs_metric_1(metric, path);
    if (cs_tls_first_end(path, &end_s))
        cs_series_set(series, (double)end_s);
    else
        cs_series_hide(series);
}
