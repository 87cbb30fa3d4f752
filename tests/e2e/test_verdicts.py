# SPDX-License-Identifier: Apache-2.0
"""Every verdict code, provoked once through a real Kafka: the record, and the code that cert.outcomes names."""

import hashlib
import re
import subprocess
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from support import events as ev
from support.proc import PATIENCE_S, wait_until
from support.stack import DEPLOYMENT, Stack, certsync_binary


class World(Stack):
    """The stack with a few accounts and CAs that all cases share."""

    def start(self):
        super().start()
        self.run_consumer()
        self.root_ca = ev.Authority("Example Root")
        self.ca = ev.Authority("Example Intermediate", self.root_ca, path_length=0)
        self.acme = self.account("acme", owner="acme-inc")
        self.sister = self.account("acme-sister", owner="acme-inc")
        self.other = self.account("other", owner="other-ltd")
        self.overseas = self.account("acme-cn", owner="acme-inc", site="cn")
        self.unverified = self.account("acme-new", owner="acme-inc", verified=False)
        self.serial = 0
        return self

    def fresh(self, prefix="c"):
        self.serial += 1
        return f"{prefix}{self.serial}.example.com"

    def pair(self, kind="p256", **how):
        """A new key, and the chain of its certificate."""
        key = ev.new_key(kind)
        return key, [self.ca.issue(key.public_key(), **how), self.ca.der]

    def upload(self, account=None, name=None, sender=None, extra=None, pair=None, **how):
        account = account or self.acme
        key, chain = pair or self.pair()
        return (sender or account.agent).upload(account.id, name or self.fresh(), key, chain, extra=extra, **how)

    def uploaded(self, account=None, name=None, **how):
        """An upload that was applied: (name, id, pair)."""
        name, subject, pair = name or self.fresh(), ev.uuid7(), how.pop("pair", None) or self.pair()
        outcome = self.judge(self.upload(account, name, pair=pair, subject=subject, **how))
        assert outcome["status"] == "applied" and "code" not in outcome, outcome
        return name, subject, pair

    def issued(self, account=None, source="official", **how):
        account, name, subject = account or self.acme, self.fresh("o"), ev.uuid7()
        key, chain = self.pair(**how)
        outcome = self.judge(self.issuer.upload(account.id, name, key, chain, subject=subject, kind="certificate.issue",
                                                extra={"source": source}))
        assert outcome["status"] == "applied", outcome
        return name, subject

    def share(self, subject, to, account=None):
        account = account or self.acme
        return account.agent.event("certificate.share", account.id, subject, {"to": to if isinstance(to, str) else to.id})

    def leaf(self, **how):
        """Upload of a certificate that is odd in one way."""
        return self.upload(pair=self.pair(**how))


@pytest.fixture(scope="module")
def world(kafka, tmp_path_factory):
    with World(tmp_path_factory.mktemp("verdicts"), partitions=12, kafka=kafka, prefix="verdicts.") as w:
        yield w


CASES = {}


def case(code):
    def add(function):
        CASES.setdefault(code, []).append(function)
        return function
    return add


# Each case returns a record to be judged, or the outcome itself.

@case("unchanged")
def same_certificate_again(w):
    name, _, pair = w.uploaded()
    return w.upload(name=name, pair=pair)


@case("event.too_large")
def a_value_of_300_kib(w):
    return w.admin.event("agent.revoke", "acme", w.acme.agent.kid, {"reason": "x" * 300 * 1024})


@case("event.unsigned")
def no_signature_header(w):
    return w.judge(w.upload(), headers=[("content-type", ev.CONTENT_TYPE)])


@case("event.unsigned")
def a_signature_that_is_not_base64(w):
    return w.judge(w.upload(), headers=[("content-type", ev.CONTENT_TYPE), ("certsync-sig", b"!!!")])


@case("event.unsigned")
def two_signatures(w):
    record = w.upload()
    return w.judge(record, headers=record.headers + record.headers[1:])


@case("event.unknown_signer")
def a_key_that_nobody_enrolled(w):
    return w.upload(sender=ev.Sender(w.log_id, w.custodian.public_key()))


@case("event.unknown_signer")
def an_agent_of_another_account(w):
    return w.upload(sender=w.other.agent)


@case("event.bad_signature")
def one_byte_changed_after_signing(w):
    record = w.upload()
    record.value = record.value.replace(b'"international"', b'"internationaL"')
    record.value = record.value.replace(b'"internationaL"', b'"international" ')
    return record


@case("event.bad_signature")
def the_signature_of_another_record(w):
    record, other = w.upload(), w.upload()
    record.signature = other.signature
    return record


@case("event.revoked_signer")
def an_agent_that_was_revoked(w):
    agent = w.enroll("acme")
    assert w.judge(w.admin.event("agent.revoke", "acme", agent.kid, {}))["status"] == "applied"
    return w.upload(sender=agent)


@case("event.revoked_signer")
def a_key_that_was_rotated_away(w):
    agent, successor = w.enroll("acme"), ev.Sender(w.log_id, w.custodian.public_key())
    assert w.judge(agent.event("agent.rotate", "acme", successor.kid, {"key": ev.b64(successor.spki)}))["status"] == "applied"
    assert w.judge(w.upload(sender=successor))["status"] == "applied"
    return w.upload(sender=agent)


@case("event.forbidden")
def an_agent_without_the_right(w):
    return w.upload(sender=w.enroll("acme", can=["read"]))


@case("event.forbidden")
def a_name_outside_of_the_pattern(w):
    return w.upload(sender=w.enroll("acme", names="*.internal"), name=w.fresh())


@case("event.forbidden")
def an_agent_that_registers_accounts(w):
    return w.acme.agent.event("account.register", "acme", "acme", {"site": "cn", "owner": "me", "verified": True})


@case("event.forbidden")
def an_admin_that_uploads(w):
    w.admin.custodian = w.custodian.public_key()
    return w.upload(sender=w.admin)


@case("event.forbidden")
def a_join_token_that_rotates(w):
    token, successor = w.enroll("acme", can=["enroll"], grant={"can": ["upload"], "names": "*"}), ev.Sender(w.log_id)
    return token.event("agent.rotate", "acme", successor.kid, {"key": ev.b64(successor.spki)})


@case("event.forbidden")
def a_key_whose_time_is_over(w):
    agent = w.enroll("acme", can=["upload", "enroll"], expires="2020-01-01T00:00:00Z", grant={"can": ["upload"], "names": "*"})
    return w.upload(sender=agent)


@case("event.forbidden")
def the_key_of_a_request_outside_of_the_pattern(w):
    key = ev.new_key()
    assert w.judge(w.acme.agent.csr_add("acme", w.fresh("secret"), key, ev.csr_of(key)))["status"] == "applied"
    thief = w.enroll("acme", can=["upload", "csr"], names="mine.*")
    return csr_upload(w, [w.ca.issue(key.public_key()), w.ca.der], thief, "mine.example.com")


@case("event.forbidden")
def the_key_of_a_request_without_the_right_to_requests(w):
    key = ev.new_key()
    assert w.judge(w.acme.agent.csr_add("acme", w.fresh(), key, ev.csr_of(key)))["status"] == "applied"
    return csr_upload(w, [w.ca.issue(key.public_key()), w.ca.der], w.enroll("acme", can=["upload"]))


@case("event.malformed")
def not_json(w):
    return ev.Record("acme", b"not json", w.acme.agent.sign(b"not json"), "")


@case("event.malformed")
def not_utf8(w):
    value = w.upload().value.replace(b"international", b"internation\xff\xfe")
    return ev.Record("acme", value, w.acme.agent.sign(value), "")


@case("event.malformed")
def a_member_twice(w):
    value = w.upload().value.replace(b'"sequence":', b'"sequence":"0000000000000001","sequence":')
    return ev.Record("acme", value, w.acme.agent.sign(value), "")


@case("event.malformed")
def an_unknown_member(w):
    return w.upload(extra={"privateKey": "secret"})


@case("event.malformed")
def deeply_nested(w):
    value = b"[" * 50000 + b"]" * 50000
    return ev.Record("acme", value, w.acme.agent.sign(value), "")


@case("event.malformed")
def a_fraction_as_number(w):
    event = w.acme.agent.envelope("certificate.delete", "acme", ev.uuid7(), {})
    event["sequence"] = 1.5
    return w.acme.agent.record("acme", event)


@case("event.malformed")
def an_empty_value(w):
    return ev.Record("acme", b"", b"x" * 70, "")


@case("event.unknown_type")
def a_type_from_the_future(w):
    return w.acme.agent.event("certificate.teleport", "acme", ev.uuid7(), {"to": "mars"})


@case("event.misrouted")
def a_record_in_the_wrong_partition(w):
    return w.judge(w.upload(), partition=(ev.partition_of("acme", w.partitions) + 1) % w.partitions)


@case("event.replayed")
def a_number_that_was_used(w):
    agent = w.enroll("acme")
    assert w.judge(w.upload(sender=agent))["status"] == "applied"
    agent.seq -= 1
    outcome = w.judge(w.upload(sender=agent))
    assert outcome["watermark"] == 1
    return outcome


@case("event.deployment")
def an_event_of_another_deployment(w):
    record = w.acme.agent.envelope("certificate.delete", "acme", ev.uuid7(), {})
    record["source"] = record["source"].replace(DEPLOYMENT, "another-deployment")
    return w.acme.agent.record("acme", record)


@case("event.incarnation")
def an_event_of_another_log(w):
    record = w.acme.agent.envelope("certificate.delete", "acme", ev.uuid7(), {})
    record["source"] = record["source"].replace(w.log_id, ev.log_id_of(DEPLOYMENT, "00000000"))
    return w.acme.agent.record("acme", record)


@case("system.order")
def a_second_genesis(w):
    record = w.root.event("system.genesis", "", DEPLOYMENT,
                          {"deployment": DEPLOYMENT, "nonce": w.log_id[-8:] + "0" * 24, "partitions": w.partitions, "ruleset": 1})
    return w.outcome_at(w.send(record, partition=0))


@case("system.ruleset")
def the_ruleset_that_is_in_force(w):
    return w.outcome_at(w.send(w.root.event("system.ruleset", "", DEPLOYMENT, {"ruleset": 1}), partition=0))


@case("trust.exists")
def a_key_trusted_twice(w):
    return w.outcome_at(w.trust("admin", w.admin)[0])


@case("trust.unknown")
def removal_of_a_key_that_is_not_trusted(w):
    return w.outcome_at(w.trust("admin", w.acme.agent, remove=True)[0])


@case("account.unknown")
def an_update_of_no_account(w):
    return w.admin.event("account.update", "nobody", "nobody", {"verified": True})


@case("account.exists")
def an_account_registered_twice(w):
    return w.register("acme", owner="acme-inc")


@case("agent.exists")
def a_key_enrolled_twice(w):
    agent = w.acme.agent
    return w.admin.event("agent.enroll", "acme", agent.kid, {"key": ev.b64(agent.spki), "can": ["read"], "names": "*"})


@case("agent.unknown")
def revocation_of_no_key(w):
    return w.admin.event("agent.revoke", "acme", "0" * 32, {})


@case("name.invalid")
def a_name_with_a_slash(w):
    return w.upload(name="../etc/passwd")


@case("name.invalid")
def an_sm2_name_with_a_dot(w):
    return w.acme.agent.upload_sm2("acme", "sm2.example.com", ev.Sm2Pair())


@case("name.taken")
def another_certificate_of_that_name(w):
    name, _, _ = w.uploaded()
    return w.upload(name=name)


@case("cert.malformed")
def bytes_that_are_no_certificate(w):
    key, chain = w.pair()
    return w.upload(pair=(key, [b"\x30\x03\x02\x01\x00", chain[1]]))


@case("cert.malformed")
def bytes_after_the_certificate(w):
    key, chain = w.pair()
    return w.upload(pair=(key, [chain[0] + b"\0", chain[1]]))


@case("cert.not_v3")
def a_version_1_certificate(w, tmp_path):
    key = ev.new_key()
    path = ev.write_private(key, tmp_path / "k")
    (tmp_path / "conf").write_text("[req]\ndistinguished_name=dn\n[dn]\n")  # Debian's own has extensions
    new = ("-new", "-config", str(tmp_path / "conf"), "-key", str(path), "-subj", "/CN=old.example.com")
    try:
        der = ev.openssl("req", "-x509v1", *new, "-days", "30", "-outform", "DER")
    except RuntimeError:  # before 3.4 it has no such option, and x509 -req makes version 1 by itself
        der = ev.openssl("x509", "-req", "-signkey", str(path), "-days", "30", "-outform", "DER", stdin=ev.openssl("req", *new))
    return w.upload(pair=(key, [der]))


@case("cert.is_ca")
def a_ca_certificate(w):
    return w.upload(pair=(w.ca.key, [w.ca.der, w.root_ca.der]))


@case("cert.no_name")
def a_certificate_without_any_name(w):
    return w.leaf(cn="", names=())


@case("cert.expired")
def an_expired_certificate(w):
    return w.leaf(start=-30, days=-1)


@case("cert.not_yet_valid")
def a_certificate_of_tomorrow(w):
    return w.leaf(start=1)


@case("cert.weak_key")
def rsa_of_1024_bits(w):
    return w.leaf(kind="rsa1024")


@case("cert.weak_key")
def a_curve_that_is_not_accepted(w):
    return w.upload(pair=w.pair("p224"), signing_key=ev.new_key())


@case("cert.weak_signature")
def a_certificate_signed_with_sha1(w):
    return w.leaf(digest=hashes.SHA1())


@case("cert.algorithm")
def sm2_in_the_international_form(w):
    pair = ev.Sm2Pair()
    return w.upload(pair=(pair.sign_key, [pair.sign_der, pair.ca_der]))


@case("cert.explicit_curve")
def a_curve_spelled_out(w, tmp_path):
    key = ev.openssl("ecparam", "-name", "prime256v1", "-genkey", "-param_enc", "explicit", "-noout")
    (tmp_path / "k").write_bytes(key)
    der = ev.openssl("req", "-x509", "-new", "-key", str(tmp_path / "k"), "-subj", "/CN=x.example.com", "-days", "9",
                     "-addext", "basicConstraints=CA:FALSE", "-addext", "subjectAltName=DNS:x.example.com", "-outform", "DER")
    return w.upload(pair=(ev.new_key(), [der]))


@case("cert.too_many")
def eleven_certificates(w):
    key, chain = w.pair()
    return w.upload(pair=(key, chain + [w.root_ca.der] * 9))


@case("chain.broken")
def an_intermediate_of_the_same_name_with_another_key(w):
    key, chain = w.pair()
    return w.upload(pair=(key, [chain[0], ev.Authority("Example Intermediate", w.root_ca).der]))


@case("chain.stray")
def a_ca_that_has_nothing_to_do_with_it(w):
    key, chain = w.pair()
    return w.upload(pair=(key, chain + [ev.Authority("Stray").der]))


@case("chain.order")
def root_before_intermediate(w):
    key, chain = w.pair()
    return w.upload(pair=(key, [chain[0], w.root_ca.der, w.ca.der]))


@case("chain.incomplete")
def a_leaf_alone_where_the_account_wants_chains(w):
    strict = w.account("strict", incomplete_chain="reject")
    key, chain = w.pair()
    noted = w.judge(w.upload(pair=(key, chain[:1])))
    assert "code" not in noted and noted["notes"] == ["chain.incomplete"]
    return w.upload(strict, pair=(key, chain[:1]))


@case("key.mismatch")
def a_proof_by_another_key(w):
    return w.upload(signing_key=ev.new_key())


@case("key.malformed")
def a_sealed_key_that_is_none(w):
    key, chain = w.pair()
    subject, event_id = ev.uuid7(), ev.uuid7()
    data = {"name": w.fresh(), "algorithm": "international", **w.acme.agent.part("acme", event_id, subject, key, chain)}
    data["key"] = ev.b64(b"not sealed")
    return w.acme.agent.event("certificate.upload", "acme", subject, data, id=event_id)


@case("key.malformed")
def a_key_sealed_to_a_stranger(w):
    agent = w.enroll("acme")
    agent.custodian = ev.x25519.X25519PrivateKey.generate().public_key()
    return w.upload(sender=agent)


@case("key.missing")
def neither_key_nor_csr(w):
    return w.acme.agent.event("certificate.upload", "acme", ev.uuid7(), {
        "name": w.fresh(), "algorithm": "international", "chain": [ev.b64(c) for c in w.pair()[1]]})


@case("key.many")
def both_key_and_csr(w):
    return w.upload(extra={"csr": True})


@case("csr.malformed")
def bytes_that_are_no_request(w):
    return w.acme.agent.csr_add("acme", w.fresh(), ev.new_key(), b"\x30\x03\x02\x01\x00")


@case("csr.bad_signature")
def a_request_with_a_changed_subject(w):
    key = ev.new_key()
    return w.acme.agent.csr_add("acme", w.fresh(), key, ev.csr_of(key, "www.example.com").replace(b"www.example", b"wwx.example"))


@case("csr.no_name")
def a_request_without_an_alternative_name(w):
    key = ev.new_key()
    return w.acme.agent.csr_add("acme", w.fresh(), key, ev.csr_of(key, names=False))


def requested(w, name=None):
    """A request that was applied: (name, key, DER)."""
    name, key = name or w.fresh(), ev.new_key()
    der = ev.csr_of(key)
    assert w.judge(w.acme.agent.csr_add("acme", name, key, der))["status"] == "applied"
    return name, key, der


@case("csr.exists")
def the_key_of_another_request(w):
    _, key, der = requested(w)
    return w.acme.agent.csr_add("acme", w.fresh(), key, der)


@case("csr.exists")
def another_request_by_the_same_key(w):
    name, key, _ = requested(w)
    return w.acme.agent.csr_add("acme", name, key, ev.csr_of(key, "other.example.com"))


@case("csr.name_taken")
def the_name_of_another_request(w):
    name, _, _ = requested(w)
    key = ev.new_key()
    return w.acme.agent.csr_add("acme", name, key, ev.csr_of(key))


@case("csr.no_match")
def no_request_with_this_key(w):
    return csr_upload(w, w.pair()[1])


@case("csr.not_found")
def deletion_of_no_request(w):
    return w.acme.agent.event("csr.delete", "acme", ev.uuid7(), {})


@case("sm2.usage")
def signing_and_encryption_swapped(w):
    return w.acme.agent.upload_sm2("acme", "swapped", ev.Sm2Pair(sign_usage="keyEncipherment", encrypt_usage="digitalSignature"))


@case("sm2.same_key")
def one_key_for_both(w):
    return w.acme.agent.upload_sm2("acme", "same_key", ev.Sm2Pair(same_key=True))


@case("sm2.subject")
def two_subjects(w):
    return w.acme.agent.upload_sm2("acme", "subjects", ev.Sm2Pair(encrypt_cn="other.example.com"))


@case("replace.older")
def a_replacement_that_is_older(w):
    name, _, _ = w.uploaded()
    return w.upload(name=name, extra={"replace": True}, pair=w.pair(start=-20))


@case("replace.source")
def an_upload_over_an_official_certificate(w):
    name, _ = w.issued()
    return w.upload(name=name, extra={"replace": True})


@case("certificate.not_found")
def deletion_of_nothing(w):
    return w.acme.agent.event("certificate.delete", "acme", ev.uuid7(), {})


@case("certificate.id_used")
def the_id_of_a_deleted_certificate(w):
    _, subject, _ = w.uploaded()
    assert w.judge(w.acme.agent.event("certificate.delete", "acme", subject, {}))["status"] == "applied"
    return w.upload(subject=subject)


@case("chain.other")
def an_update_with_the_chain_of_another_certificate(w):
    _, subject, _ = w.uploaded()
    return w.acme.agent.event("certificate.update", "acme", subject, {"chain": [ev.b64(c) for c in w.pair()[1]]})


@case("name.taken")
def a_new_name_that_another_has(w):
    (name, _, _), (_, subject, _) = w.uploaded(), w.uploaded()
    return w.acme.agent.event("certificate.update", "acme", subject, {"name": name})


@case("name.invalid")
def a_new_name_with_a_slash(w):
    return w.acme.agent.event("certificate.update", "acme", w.uploaded()[1], {"name": "no/slashes"})


@case("event.forbidden")
def a_new_name_outside_of_the_pattern(w):
    name, subject, _ = w.uploaded()
    return w.enroll("acme", names=name).event("certificate.update", "acme", subject, {"name": w.fresh()})


@case("event.malformed")
def an_update_of_nothing(w):
    return w.acme.agent.event("certificate.update", "acme", w.uploaded()[1], {})


def told(w, sender, kind, subject, **data):
    return sender.event("certificate." + kind, "acme", subject, {"place": "/etc/ssl/www.pem", **data})


def fingerprint(pair):
    return hashlib.sha256(pair[1][0]).hexdigest()


@case("replace.not_held")
def a_host_that_never_had_the_certificate_of_this_name(w):
    name, _, _ = w.uploaded()
    return w.upload(name=name, sender=w.enroll("acme"), extra={"replace": True, "place": "/etc/ssl/www.pem"})


@case("certificate.version")
def a_file_that_is_no_version(w):
    return told(w, w.acme.agent, "seen", w.uploaded()[1], sha256=fingerprint(w.pair()))


@case("certificate.not_found")
def a_host_that_has_what_is_not_there(w):
    return told(w, w.acme.agent, "seen", ev.uuid7(), sha256="0" * 64)


@case("certificate.not_found")
def a_host_that_loses_what_is_not_there(w):
    return told(w, w.acme.agent, "gone", ev.uuid7())


@case("unchanged")
def a_place_that_nobody_told(w):
    return told(w, w.acme.agent, "gone", w.uploaded()[1], delete=True)


@case("event.forbidden")
def a_last_file_that_may_not_take_its_certificate_along(w):
    return told(w, w.enroll("acme", can=["upload"]), "gone", w.uploaded()[1], delete=True)


@case("event.malformed")
def a_place_of_two_lines(w):
    return told(w, w.acme.agent, "gone", w.uploaded()[1], place="/etc/ssl\n/www.pem")


@case("event.malformed")
def a_place_of_4000_characters(w):
    return told(w, w.acme.agent, "gone", w.uploaded()[1], place="/" + "x" * 3999)


@case("quota.installations")
def one_host_too_many(w):
    small = w.account("crowded", installations=0)
    _, subject, pair = w.uploaded(small)
    return small.agent.event("certificate.seen", small.id, subject, {"place": "/www.pem", "sha256": fingerprint(pair)})


@case("delete.shared")
def deletion_of_a_shared_certificate(w):
    _, subject = w.issued()
    assert w.final(w.share(subject, w.sister))["status"] == "applied"
    return w.acme.agent.event("certificate.delete", "acme", subject, {})


def strict_account(w, **policy):
    account = w.account(w.fresh("policy").replace(".example.com", ""))
    assert w.judge(w.admin.event("account.update", account.id, account.id, {"policy": policy}))["status"] == "applied"
    return account


@case("policy.key")
def a_type_of_key_that_the_account_does_not_take(w):
    strict = strict_account(w, keys=["P-384", "RSA-3072"])
    w.uploaded(strict, pair=w.pair("rsa3072"))
    key = ev.new_key()
    assert w.judge(strict.agent.csr_add(strict.id, w.fresh(), key, ev.csr_of(key)))["code"] == "policy.key"
    outcome = w.judge(w.upload(strict))
    assert outcome["detail"] == "It is P-256; allowed: RSA-3072 P-384"
    return outcome


@case("policy.lifetime")
def a_certificate_that_is_valid_for_too_long(w):
    strict = strict_account(w, days=91)
    name, _, pair = w.uploaded(strict, pair=w.pair(days=90, start=-1))
    assert w.judge(w.admin.event("account.update", strict.id, strict.id, {"policy": {"days": 30}}))["status"] == "applied"
    assert w.judge(w.upload(strict, name, pair=pair))["code"] == "unchanged"  # what is there may come again
    outcome = w.judge(w.upload(strict, name, pair=w.pair(days=90, start=-1), extra={"replace": True}))
    assert outcome["detail"] == "It is valid for 91 days; allowed: 30"
    return outcome


@case("policy.issuer")
def another_ca_than_the_account_takes(w):
    spki = hashlib.sha256(ev.spki_of(w.ca.key.public_key())).hexdigest()
    strict = strict_account(w, issuers=[f"spki:{spki}", "name:*CN=Nobody*"])
    key, chain = w.pair()
    w.uploaded(strict, pair=(key, chain))
    assert w.judge(w.upload(strict, pair=(key, chain[:1])))["code"] == "policy.issuer"  # nothing proves it
    stranger = ev.Authority("Example Intermediate")
    return w.upload(strict, pair=(key, [stranger.issue(key.public_key()), stranger.der]))


@case("policy.dns")
def a_host_that_the_account_may_not_name(w):
    strict = strict_account(w, dns=["*.example.com"])
    w.uploaded(strict, pair=w.pair(names=("www.example.com", "*.example.com")))
    w.uploaded(strict, pair=w.pair(cn="www.example.com", names=()))
    outcome = w.judge(w.upload(strict, pair=w.pair(names=("www.example.com", "example.com"))))
    assert outcome["detail"] == "Not covered: example.com"
    return outcome


@case("policy.wildcard")
def a_wildcard_where_the_account_takes_none(w):
    strict = strict_account(w, wildcards="reject")
    w.uploaded(strict)
    return w.upload(strict, pair=w.pair(names=("*.example.com",)))


@case("policy.agent_dns")
def the_names_of_another_host(w):
    own = w.enroll("acme", dns=["web1.example.com", "**.web1.example.com"])
    w.uploaded(sender=own, pair=w.pair(names=("web1.example.com", "a.b.web1.example.com")))
    key = ev.new_key()
    assert w.judge(own.csr_add("acme", w.fresh(), key, ev.csr_of(key, "web2.example.com")))["code"] == "policy.agent_dns"
    return w.upload(sender=own, pair=w.pair(names=("web1.example.com", "web2.example.com")))


@case("event.forbidden")
def a_join_token_that_enrols_a_wider_key(w):
    token = w.enroll("acme", can=["enroll"], grant={"can": ["upload"], "names": "*", "dns": ["*.example.com"]})
    for dns, code in ((["www.example.com"], None), (["*.example.com"], None), (["**.example.com"], "event.forbidden")):
        host = ev.Sender(w.log_id, w.custodian.public_key())
        data = {"key": ev.b64(host.spki), "can": ["upload"], "names": "*", "dns": dns}
        assert w.judge(token.event("agent.enroll", "acme", host.kid, data)).get("code") == code
    host = ev.Sender(w.log_id, w.custodian.public_key())
    return token.event("agent.enroll", "acme", host.kid, {"key": ev.b64(host.spki), "can": ["upload"], "names": "*"})


@case("event.malformed")
def a_pattern_of_every_host(w):
    return w.admin.event("account.update", "acme", "acme", {"policy": {"dns": ["*"]}})


@case("event.malformed")
def an_unknown_type_of_key_in_a_policy(w):
    return w.admin.event("account.update", "acme", "acme", {"policy": {"keys": ["RSA-1024"]}})


@case("event.malformed")
def patterns_above_their_limit(w):
    many = [f"{i:060d}.a{i:050d}.example.com" for i in range(9)]
    outcome = w.judge(w.admin.event("account.update", "acme", "acme", {"policy": {"dns": many}}))
    assert outcome["detail"] == "data.policy.dns[8]: longer than 1023 bytes in all"
    return outcome


@case("quota.certificates")
def one_more_than_the_limit(w):
    small = w.account("small", certificates=1)
    w.uploaded(small)
    return w.upload(small)


@case("quota.requests")
def one_request_more_than_the_limit(w):
    small = w.account("few-requests", requests=1)
    for i in range(2):
        key = ev.new_key()
        record = small.agent.csr_add(small.id, f"request-{i}", key, ev.csr_of(key))
        if i == 0:
            assert w.judge(record)["status"] == "applied"
    return record


@case("event.too_old")
def an_event_of_a_month_ago(w):
    return w.upload(event_id=ev.uuid7(days_ago=30.01))


@case("quota.tags")
def one_tag_more_than_the_limit(w):
    small = w.account("few-tags", tags=1)
    return w.upload(small, extra={"tags": ["a", "b"]})


@case("quota.bytes")
def a_byte_more_than_the_limit(w):
    return w.upload(w.account("few-bytes", bytes=100))


@case("quota.keys")
def one_key_more_than_the_limit(w):
    small, next_one = w.account("few-keys", keys=1), ev.Sender(w.log_id)
    return w.admin.event("agent.enroll", small.id, next_one.kid, {"key": ev.b64(next_one.spki), "can": ["read"], "names": "*"})


@case("quota.tokens")
def one_join_token_more_than_the_limit(w):
    small, token = w.account("few-tokens", tokens=0), ev.Sender(w.log_id)
    return w.admin.event("agent.enroll", small.id, token.kid, {
        "key": ev.b64(token.spki), "can": ["enroll"], "names": "*", "uses": 1, "grant": {"can": ["read"], "names": "*"}})


@case("quota.shares_out")
def one_share_more_than_the_limit(w):
    small = w.account("few-shares", owner="acme-inc", shares_out=1)
    assert w.final(w.share(w.issued(small)[1], w.sister, account=small))["status"] == "applied"
    return w.share(w.issued(small)[1], w.sister, account=small)


@case("quota.shares_in")
def a_recipient_without_room(w):
    small = w.account("no-room", owner="acme-inc", shares_in=0)
    return w.final(w.share(w.issued()[1], small))


@case("share.uploaded")
def sharing_an_uploaded_certificate(w):
    return w.share(w.uploaded()[1], w.sister)


@case("share.reshare")
def sharing_on_what_was_shared_in(w):
    _, subject = w.issued()
    assert w.final(w.share(subject, w.sister))["status"] == "applied"
    return w.share(subject, w.acme, account=w.sister)


@case("share.self")
def sharing_with_oneself(w):
    return w.share(w.issued()[1], w.acme)


@case("share.expired")
def sharing_an_expired_certificate(w):
    # Valid for a few seconds: the record after them is judged by the broker's clock. Where they were too few to register it, more.
    for valid_s in (4, 15, 60):
        key, chain = w.pair(days=valid_s / 86400)
        end = time.time() + valid_s + 1
        subject = ev.uuid7()
        if w.judge(w.issuer.upload(w.acme.id, w.fresh("o"), key, chain, subject=subject, kind="certificate.issue",
                                   extra={"source": "official"}))["status"] == "applied":
            break
    wait_until(lambda: time.time() > end, PATIENCE_S, "the end of a short validity", interval_s=0.2)
    return w.share(subject, w.sister)


@case("share.unverified")
def sharing_from_an_unverified_account(w):
    _, subject = w.issued(w.unverified)
    return w.share(subject, w.sister, account=w.unverified)


@case("share.unverified")
def sharing_to_an_unverified_account(w):
    return w.final(w.share(w.issued()[1], w.unverified))


@case("share.site")
def sharing_across_sites(w):
    return w.final(w.share(w.issued()[1], w.overseas))


@case("share.owner")
def sharing_with_another_owner(w):
    return w.final(w.share(w.issued()[1], w.other))


@case("share.owner")
def sharing_with_an_account_that_does_not_exist(w):
    return w.final(w.share(w.issued()[1], "no-such-account"))


@case("share.limit")
def one_recipient_too_many(w):
    tight = w.account("tight", owner="acme-inc", shares=1)
    _, subject = w.issued(tight)
    assert w.final(w.share(subject, w.sister, account=tight))["status"] == "applied"
    return w.share(subject, w.acme, account=tight)


@case("account.shares")
def a_change_that_would_end_too_many_shares(w):
    """51 certificates with 20 shares each, all taken: 1,020 in all."""
    owner = w.account("many-shares", owner="many", shares_out=2000)
    others = [w.account(f"many-{i}", owner="many") for i in range(20)]
    subjects = [w.issued(owner)[1] for _ in range(51)]
    shares = [w.share(subject, to, account=owner) for subject in subjects for to in others]
    w.send_all(shares)
    for share in shares:
        assert w.outcomes.conclusion(share.id)["status"] == "applied"
    return w.admin.event("account.update", owner.id, owner.id, {"owner": "somebody-else"})


@case("share.exists")
def sharing_twice(w):
    _, subject = w.issued()
    assert w.final(w.share(subject, w.sister))["status"] == "applied"
    return w.share(subject, w.sister)


@case("share.not_found")
def unsharing_what_is_not_shared(w):
    return w.acme.agent.event("certificate.unshare", "acme", w.issued()[1], {"to": "acme-sister"})


@case("share.closed")
def an_answer_to_no_share(w):
    service = ev.Sender(w.log_id, key=w.service)
    # As if it came from a partition where no account of this test lives, to leave the true numbers alone.
    used = {ev.partition_of(a, w.partitions) for a in ("acme", "acme-sister", "other", "acme-cn", "acme-new", "tight")}
    origin = min(set(range(w.partitions)) - used)
    return service.event("share.answer", "acme", ev.uuid7(), {
        "share": ev.uuid7(), "recipient": "acme-sister", "version": 1, "answer": "accepted", "code": "", "origin": origin})


def csr_upload(w, chain, sender=None, name=None):
    return (sender or w.acme.agent).event("certificate.upload", "acme", ev.uuid7(), {
        "name": name or w.fresh(), "algorithm": "international", "chain": [ev.b64(c) for c in chain], "csr": True})


# Notes refuse nothing: what clients will say is told, and kept with the certificate.

NOTES = {}


def note(code):
    def add(function):
        NOTES[code] = function
        return function
    return add


def below(w, extensions=(), leaf_extensions=(), **how):
    """An upload under a CA of its own; what is odd is that CA's, or the leaf's."""
    ca, key = ev.Authority("Odd CA", w.root_ca, extensions=extensions, **how), ev.new_key()
    return w.upload(pair=(key, [ca.issue(key.public_key(), extensions=leaf_extensions), ca.der]))


@note("chain.expired")
def a_ca_that_has_expired(w):
    return below(w, start=-30, days=-1)


@note("chain.not_yet_valid")
def a_ca_that_is_not_valid_yet(w):
    return below(w, start=1)


@note("chain.ends_early")
def a_ca_that_ends_before_the_leaf(w):
    return below(w, days=10)


@note("chain.names")
def a_ca_that_may_sign_for_others(w):
    return below(w, [x509.NameConstraints([x509.DNSName("example.org")], None)])


@note("chain.key_id")
def a_key_id_that_is_another_cas(w):
    key = ev.new_key()
    return w.upload(pair=(key, [w.ca.issue(key.public_key(), authority=ev.new_key().public_key()), w.ca.der]))


@note("cert.critical")
def a_critical_extension_that_nobody_knows(w):
    return below(w, leaf_extensions=[x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4.5"), b"\5\0")])


@note("cert.purpose")
def a_ca_for_code_signing(w):
    return below(w, [x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.CODE_SIGNING])])


@note("cert.no_san")
def a_certificate_with_a_common_name_only(w):
    return w.leaf(names=())


@pytest.mark.parametrize("code", NOTES)
def test_note(world, code):
    outcome = world.judge(NOTES[code](world))
    assert outcome["status"] == "applied" and outcome["notes"] == [code] and "code" not in outcome, outcome


@pytest.mark.parametrize("code,provoke", [pytest.param(c, f, id=f"{c}-{f.__name__}") for c, fs in CASES.items() for f in fs])
def test_code(world, code, provoke, tmp_path):
    wants_path = "tmp_path" in provoke.__code__.co_varnames[:provoke.__code__.co_argcount]
    found = provoke(world, tmp_path) if wants_path else provoke(world)
    outcome = found if isinstance(found, dict) else world.judge(found)
    assert outcome.get("code") == code, outcome
    if code not in ("unchanged", "share.closed"):
        assert outcome["status"] == "rejected"


def test_every_code_of_a_consumer_has_a_case():
    text = subprocess.run([certsync_binary(), "codes", "--markdown"], capture_output=True, text=True, check=True).stdout
    known = set(re.findall(r"`([a-z_0-9]+(?:\.[a-z_0-9]+)?)`", text))
    assert len(known) > 60
    assert known - set(CASES) - set(NOTES) == {"key.encrypted"}  # said by the agent alone: it never publishes one


# What applies must apply, too: the same forms, right.

@pytest.mark.parametrize("kind", ["rsa2048", "rsa3072", "p256", "p384", "p521", "ed25519"])
def test_international_keys(world, kind):
    outcome = world.judge(world.upload(pair=world.pair(kind)))
    assert outcome["status"] == "applied" and outcome["version"] == 1 and "code" not in outcome


def test_sm2_pair(world):
    assert world.judge(world.acme.agent.upload_sm2("acme", "sm2_pair", ev.Sm2Pair()))["status"] == "applied"
    assert world.names(world.acme)["sm2_pair"]["algorithm"] == "sm2"


def test_csr_is_matched_by_its_key(world):
    key = ev.new_key()
    assert world.judge(world.acme.agent.csr_add("acme", world.fresh(), key, ev.csr_of(key)))["status"] == "applied"
    assert world.judge(csr_upload(world, [world.ca.issue(key.public_key()), world.ca.der]))["status"] == "applied"


def test_replace_keeps_the_id_and_adds_a_version(world):
    name, subject, _ = world.uploaded()
    outcome = world.judge(world.upload(name=name, extra={"replace": True}, pair=world.pair(start=-0.5)))
    assert (outcome["status"], outcome["subject"], outcome["version"]) == ("applied", subject, 2)
    forced = world.judge(world.upload(name=name, extra={"replace": True, "force": True}, pair=world.pair(start=-30)))
    assert (forced["status"], forced["subject"], forced["version"]) == ("applied", subject, 3)


def test_the_same_record_twice_is_a_duplicate(world):
    record = world.upload()
    assert world.judge(record)["status"] == "applied"
    again = world.judge(record)
    assert again["status"] == "duplicate" and "code" not in again


def test_a_gap_is_applied_and_reported(world):
    agent = world.enroll("acme")
    assert "gap" not in world.judge(world.upload(sender=agent))
    agent.seq += 3
    outcome = world.judge(world.upload(sender=agent))
    assert outcome["status"] == "applied" and outcome["gap"] == 3


def test_a_join_token_enrolls_as_often_as_it_may(world):
    token = world.enroll("acme", can=["enroll"], uses=2, grant={"can": ["upload"], "names": "*"})
    agents = [ev.Sender(world.log_id, world.custodian.public_key()) for _ in range(3)]
    statuses = [world.judge(token.event("agent.enroll", "acme", a.kid, {
        "key": ev.b64(a.spki), "can": ["upload"], "names": "*"})) for a in agents]
    assert [s["status"] for s in statuses] == ["applied", "applied", "rejected"]
    assert statuses[2]["code"] == "event.forbidden"
    assert world.judge(world.upload(sender=agents[0]))["status"] == "applied"


def test_a_record_of_20_mb_is_refused_and_the_partition_goes_on(world):
    world.kafka_max_bytes(world.events_topic, 33554432)
    place = world.produce(b"x" * 20_000_000, ev.partition_of("acme", world.partitions), [("certsync-sig", b"AAAA")], b"acme")
    assert world.outcome_at(place)["code"] == "event.too_large"
    assert world.judge(world.upload())["status"] == "applied"


def test_a_tombstone_and_odd_headers_are_refused(world):
    partition = ev.partition_of("acme", world.partitions)
    for value, headers in ((None, []), (b"{}", [("certsync-sig", None)]), (b"{}", [("certsync-sig", b"")] * 100)):
        outcome = world.outcome_at(world.produce(value, partition, headers, b"acme"))
        assert outcome["status"] == "rejected" and outcome["code"] in ("event.unsigned", "event.malformed")
    assert world.judge(world.upload())["status"] == "applied"


def test_outcomes_are_numbered_and_chained(world):
    import hashlib
    import json
    tail = world.outcomes
    for partition in range(world.partitions):
        previous = "0" * 64
        numbers = sorted(n for p, n in tail.by_number if p == partition)
        assert numbers == list(range(1, len(numbers) + 1)) and numbers
        for n in numbers:
            value = tail.by_number[(partition, n)]
            assert json.loads(value)["data"]["prev"] == previous
            previous = hashlib.sha256(value).hexdigest()
