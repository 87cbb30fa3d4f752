// SPDX-License-Identifier: Apache-2.0
#include "x509/name.h"

#include <stdlib.h>

#include <arpa/inet.h>

#include "certsync/base/text.h"

#define OTHER_NAME    DER_CONTEXT_CONSTRUCTED(0)
#define X400_ADDRESS  DER_CONTEXT_CONSTRUCTED(3)
#define EDI_PARTY     DER_CONTEXT_CONSTRUCTED(5)
#define REGISTERED_ID DER_CONTEXT(8)

// OtherName ::= SEQUENCE { type-id OBJECT IDENTIFIER, value [0] EXPLICIT ANY }
static bool other_name_valid(struct der d) {
    struct der explicit;
    struct cs_bytes type;
    struct der_value value;
    return der_take_oid(&d, &type) && der_enter(&d, DER_CONTEXT_CONSTRUCTED(0), &explicit) && der_done(&d) &&
           der_next(&explicit, &value) && der_any_valid(&value) && der_done(&explicit);
}

// A DirectoryString in an explicit tag.
static bool take_directory_string(struct der *d, uint8_t tag) {
    struct der explicit;
    struct der_value v;
    return der_enter(d, tag, &explicit) && der_next(&explicit, &v) && der_done(&explicit) &&
           v.tag != DER_IA5_STRING && v.tag != DER_NUMERIC_STRING && v.tag != DER_BIT_STRING &&
           name_value_valid(&v);
}

// EDIPartyName ::= SEQUENCE { nameAssigner [0] DirectoryString OPTIONAL,
//                             partyName [1] DirectoryString }
static bool edi_party_valid(struct der d) {
    if (der_at(&d, DER_CONTEXT_CONSTRUCTED(0)) && !take_directory_string(&d, DER_CONTEXT_CONSTRUCTED(0)))
        return false;
    return take_directory_string(&d, DER_CONTEXT_CONSTRUCTED(1)) && der_done(&d);
}

static bool ia5_valid(struct cs_bytes text) {
    for (size_t i = 0; i < text.len; i++)
        if (text.data[i] >= 0x80)
            return false;
    return true;
}

static bool dns_valid(struct cs_bytes text) {
    for (size_t i = 0; i < text.len; i++)
        if (text.data[i] < 0x20 || text.data[i] >= 0x7F)
            return false;
    return true;
}

bool general_name_valid(const struct der_value *v, enum general_name_use use) {
    bool own = use == GENERAL_NAME_OWN;
    switch (v->tag) {
    case GENERAL_NAME_DNS:
        return !own || dns_valid(v->content);
    case GENERAL_NAME_EMAIL:
    case GENERAL_NAME_URI:
        return !own || ia5_valid(v->content);
    case GENERAL_NAME_IP:
        return !own || v->content.len == 4 || v->content.len == 16;
    case GENERAL_NAME_DIRECTORY:
        return name_valid(v->content);
    case OTHER_NAME:
        return other_name_valid(der_of(v->content));
    case X400_ADDRESS:
        return true;
    case EDI_PARTY:
        return edi_party_valid(der_of(v->content));
    case REGISTERED_ID:
        return der_oid_valid(v->content);
    default:
        return false;
    }
}

bool general_names_valid(struct cs_bytes names) {
    struct der d = der_of(names);
    struct der_value v;
    if (der_done(&d))
        return false;
    while (!der_done(&d))
        if (!der_next(&d, &v) || !general_name_valid(&v, GENERAL_NAME_ELSEWHERE))
            return false;
    return true;
}

// The longest of "email:", "URI:", "IP:", each byte as \xNN, and a NUL.
static size_t text_bound(const struct der_value *v) {
    return v->tag == GENERAL_NAME_IP ? sizeof "IP:" + INET6_ADDRSTRLEN : sizeof "email:" + 4 * v->content.len;
}

// An empty text names nobody.
static bool listed(const struct der_value *v) {
    return v->content.len > 0 && (v->tag == GENERAL_NAME_EMAIL || v->tag == GENERAL_NAME_DNS ||
                                  v->tag == GENERAL_NAME_URI || v->tag == GENERAL_NAME_IP);
}

static char *put_name(const struct der_value *v, char *at) {
    const char *prefix = v->tag == GENERAL_NAME_EMAIL ? "email:"
                         : v->tag == GENERAL_NAME_URI ? "URI:"
                         : v->tag == GENERAL_NAME_IP  ? "IP:"
                                                      : "";
    at = stpcpy(at, prefix);
    if (v->tag == GENERAL_NAME_IP)
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
    *ret_oom = false;
    if (!der_enter(&outer, DER_SEQUENCE, &seq) || !der_done(&outer) || der_done(&seq))
        return false;
    for (again = seq; !der_done(&seq);) {
        if (!der_next(&seq, &v) || !general_name_valid(&v, GENERAL_NAME_OWN))
            return false;
        if (listed(&v) && total++ < max)
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
        if (!listed(&v))
            continue;
        names[n++] = at;
        at = put_name(&v, at);
    }
    *ret = (struct san_list){names, kept, total};
    return true;
}
