// SPDX-License-Identifier: Apache-2.0
#include "name.h"

#include <stdlib.h>

#include <arpa/inet.h>

#include "certsync/model/text.h"

// GeneralName's choices (RFC 5280 section 4.2.1.6), all IMPLICIT.
#define SAN_EMAIL DER_CONTEXT(1)
#define SAN_DNS   DER_CONTEXT(2)
#define SAN_URI   DER_CONTEXT(6)
#define SAN_IP    DER_CONTEXT(7)

// Longest of "email:", "URI:", "IP:" and each byte as \xNN, and a NUL.
static size_t text_bound(const struct der_value *v) {
    return v->tag == SAN_IP ? sizeof "IP:" + INET6_ADDRSTRLEN : sizeof "email:" + 4 * v->content.len;
}

static bool listed(const struct der_value *v, bool *ret) {
    *ret = v->tag == SAN_EMAIL || v->tag == SAN_DNS || v->tag == SAN_URI || v->tag == SAN_IP;
    return v->tag != SAN_IP || v->content.len == 4 || v->content.len == 16;
}

static char *put_name(const struct der_value *v, char *at) {
    const char *prefix = v->tag == SAN_EMAIL ? "email:"
                         : v->tag == SAN_URI ? "URI:"
                         : v->tag == SAN_IP  ? "IP:"
                                             : "";
    at = stpcpy(at, prefix);
    if (v->tag == SAN_IP)
        inet_ntop(v->content.len == 4 ? AF_INET : AF_INET6, v->content.data, at, INET6_ADDRSTRLEN);
    else
        cs_text_escape(v->content.data, v->content.len, at, 4 * v->content.len + 1);
    return at + strlen(at) + 1;
}

bool san_parse(struct cs_bytes general_names, size_t max, struct cs_region *region, struct san_list *ret,
               bool *ret_oom) {
    struct der outer = der_of(general_names), seq, again;
    struct der_value v;
    size_t total = 0, bytes = 0, n = 0;
    bool wanted;
    *ret_oom = false;
    if (!der_enter(&outer, DER_SEQUENCE, &seq) || !der_done(&outer) || der_done(&seq))
        return false;
    for (again = seq; !der_done(&seq);) {
        if (!der_next(&seq, &v) || (v.tag & 0xC0) != 0x80 || !listed(&v, &wanted))
            return false;
        if (wanted && total++ < max)
            bytes += text_bound(&v);
    }
    size_t kept = total < max ? total : max;
    size_t size = kept * sizeof(char *) + bytes;
    char **names = kept > 0 ? cs_region_take(region, size) : NULL;
    *ret_oom = kept > 0 && !names;
    if (*ret_oom)
        return false;
    char *at = kept > 0 ? (char *)(names + kept) : NULL;
    while (n < kept && der_next(&again, &v)) {
        if (!listed(&v, &wanted) || !wanted)
            continue;
        names[n++] = at;
        at = put_name(&v, at);
    }
    *ret = (struct san_list){names, kept, total};
    return true;
}
