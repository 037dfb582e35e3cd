"""Verifies a webhook with the official library; exits 1 if it does not hold."""

import json
import sys

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

given = json.load(sys.stdin)
try:
    said = Webhook(given["secret"]).verify(given["body"], given["headers"])
except WebhookVerificationError as error:
    print(error)
    sys.exit(1)
print(said["type"])
