// The same as webhook.py as a fetch handler: believes only who knows the secret
// (HMAC-SHA-256 of the body), and says what it was told.
//
//     body='{"action": "push"}'
//     curl -d "$body" -H "X-Hub-Signature-256: sha256=$(printf %s "$body" |
//         openssl dgst -sha256 -hmac 'change me' -r | cut -d' ' -f1)" \
//         http://127.0.0.1:8080/fn/signed
import { createHmac, timingSafeEqual } from 'node:crypto';

function isSigned(body, given, secret) {
  const expected = Buffer.from(
    'sha256=' + createHmac('sha256', secret).update(body).digest('hex'));
  const got = Buffer.from(given ?? '');
  // In constant time: how long it takes must not tell how much was right.
  return got.length === expected.length && timingSafeEqual(got, expected);
}

export default {
  async fetch(request, env) {
    const body = Buffer.from(await request.arrayBuffer());
    const given = request.headers.get('x-hub-signature-256');
    if (!isSigned(body, given, env.WEBHOOK_SECRET)) {
      return Response.json({ error: 'the signature is wrong' }, { status: 403 });
    }
    try {
      const event = JSON.parse(body.toString('utf8'));
      console.log(`an event of ${body.length} bytes`);
      return Response.json({ accepted: true, event });
    } catch {
      return Response.json({ error: 'the body is no JSON' }, { status: 400 });
    }
  },
};
