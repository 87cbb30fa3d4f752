// SPDX-License-Identifier: Apache-2.0
//
// What changes of a certificate without a new version: name, tags, contact, note, and a chain.
#include <string.h>

#include "rules/rules_internal.h"
#include "rules/rules_table.h"

// ---- rules

bool cs_rule_new_name(struct cs_judge *j) {
    const char *name = j->ev->data.upload.name;
    return !j->f.renames || cs_name_valid(name, strlen(name), j->f.cert.summary.algorithm);
}

bool cs_rule_new_pattern(struct cs_judge *j) {
    return !j->f.renames || cs_pattern_matches(j->f.agent.names, j->ev->data.upload.name);
}

bool cs_rule_new_name_free(struct cs_judge *j) {
    return !j->f.name_used;
}

bool cs_rule_chain_own(struct cs_judge *j) {
    return j->ev->data.upload.parts == 0 || j->f.same_leaf;
}

// ---- effect

// The name leads to it, and it stands under the name in the account's view.
static void rename_to(struct cs_judge *j, struct cs_certificate *cert, const char *name) {
    const char *account = j->ev->account;
    cs_key member;
    cs_member_view(member, cert->summary.name, NULL, cert->id);
    cs_state_remove(j->state, cs_key_view(CS_NEW_KEY, account), member);
    cs_state_remove(j->state, cs_key_expiry(CS_NEW_KEY, account), member);
    cs_state_delete(j->state, cs_key_name(CS_NEW_KEY, account, cert->summary.name));
    CS_COPY(cert->summary.name, name);
    cs_judge_put_id(j, cs_key_name(CS_NEW_KEY, account, name), cert->id);
    cs_member_view(member, name, NULL, cert->id);
    cs_state_add(j->state, cs_key_view(CS_NEW_KEY, account), member, 0);
}

// Whether the event names another text than the one that is held.
static bool take_text(bool named, const char *sent, char *held, size_t size) {
    if (!named || strcmp(sent, held) == 0)
        return false;
    cs_copy_text(held, size, sent);
    return true;
}

// Id, version, keys and who sent them stay. The outcome tells the name that it has from now on.
void cs_effect_revise(struct cs_judge *j) {
    const struct cs_event_upload *up = &j->ev->data.upload;
    struct cs_certificate cert = j->f.cert; // owns nothing of its own
    unsigned took = cs_certificate_take(j, &cert);
    if (j->f.renames) {
        rename_to(j, &cert, up->name);
        took |= CS_TOOK_NAME;
    }
    if (take_text(up->has_contact, up->contact, cert.contact, sizeof cert.contact))
        took |= CS_TOOK_CONTACT;
    if (take_text(up->has_note, up->note, cert.note, sizeof cert.note))
        took |= CS_TOOK_NOTE;
    cs_certificate_taken(j, &cert, took);
    cs_judge_tell(j, &cert.summary);
}
