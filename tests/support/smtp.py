# SPDX-License-Identifier: Apache-2.0
"""A real SMTP server (aiosmtpd) on a loopback port, that keeps the mails it took.

    with Smtp() as s:             # Smtp(login=("user", "password"), tls=(certificate, key)) demands both
        s.url                     # smtp://127.0.0.1:PORT
        s.refuse = {"a@b.example": "550 no such user"}
        s.mails                   # [email.message.EmailMessage], with .rcpt
"""
import email
import email.policy
import ssl
import threading

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult

from support.proc import free_port


class Smtp:
    def __init__(self, login=None, tls=None):
        self.login, self.tls, self.mails, self.refuse, self.fail, self.controller = login, tls, [], {}, None, None
        self.port = free_port()
        self.lock = threading.Lock()

    async def handle_RCPT(self, server, session, envelope, address, options):  # noqa: N802
        if address in self.refuse:
            return self.refuse[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):  # noqa: N802
        if self.fail:
            return self.fail
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        mail.rcpt = list(envelope.rcpt_tos)
        mail.sender = envelope.mail_from
        with self.lock:
            self.mails.append(mail)
        return "250 OK"

    def _authenticate(self, server, session, envelope, mechanism, data):
        good = mechanism in ("PLAIN", "LOGIN") and (data.login.decode(), data.password.decode()) == self.login
        return AuthResult(success=good, handled=good)

    def start(self):
        context = None
        if self.tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*self.tls)
        how = {"authenticator": self._authenticate, "auth_required": True, "auth_require_tls": bool(self.tls)} if self.login else {}
        outer = self

        class Local(Controller):
            def factory(self):
                return SMTP(outer, data_size_limit=64 << 20, tls_context=context, require_starttls=bool(context), hostname="smtp.test", **how)
        self.controller = Local(self, hostname="127.0.0.1", port=self.port, ready_timeout=60)
        self.controller.start()
        return self

    @property
    def url(self):
        return f"smtp://127.0.0.1:{self.port}"

    def stop(self):
        if self.controller:
            self.controller.stop(no_assert=True)
        self.controller = None

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()
