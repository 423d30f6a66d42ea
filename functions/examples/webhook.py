"""A webhook receiver: believes only who knows the secret (HMAC-SHA-256 of the
body, as GitHub signs it), and keeps what came as lines of JSON in /data.

    body='{"action": "push"}'
    curl -d "$body" -H "X-Hub-Signature-256: sha256=$(printf %s "$body" |
        openssl dgst -sha256 -hmac 'change me' -r | cut -d' ' -f1)" \\
        http://127.0.0.1:8080/fn/webhook

The secret stands in webhook.ini, which says where a real one belongs.
"""

import hashlib
import hmac
import json
import os
import sys


def answer(status, **words):
    text = json.dumps(words)
    print(f"Status: {status}\nContent-Type: application/json\n\n{text}")
    sys.exit(0)


secret = os.environ["WEBHOOK_SECRET"].encode()
given = os.environ.get("HTTP_X_HUB_SIGNATURE_256", "")
body = sys.stdin.buffer.read(int(os.environ.get("CONTENT_LENGTH") or 0))
expected = "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest()
# In constant time: how long it takes must not tell how much was right.
if not hmac.compare_digest(expected.encode(), given.encode("utf-8", "replace")):
    answer(403, error="the signature is wrong")
try:
    event = json.loads(body)
# The second: lists in lists in lists, thousands deep.
except (ValueError, RecursionError):
    answer(400, error="the body is no JSON")
with open("/data/webhook.jsonl", "a", encoding="utf-8") as file:
    file.write(json.dumps(event) + "\n")
print("webhook: an event of", len(body), "bytes", file=sys.stderr)
answer(200, accepted=True)
