# SPDX-License-Identifier: Apache-2.0
"""Verifies one request with the official library of Standard Webhooks: says "good" or "bad"."""
import json
import sys

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

request = json.load(sys.stdin)
try:
    Webhook(request["secret"]).verify(request["body"], request["headers"])
    print("good")
except WebhookVerificationError:
    print("bad")
