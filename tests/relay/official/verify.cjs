// Verifies a webhook with the official library, and an ed25519 signature with Node's own cryptography, since the
// library knows `v1` only; exits 1 if it does not hold.

const crypto = require("node:crypto");
const { Webhook, WebhookVerificationError } = require("standardwebhooks");

// RFC 8410: what stands before the seed of an ed25519 key in PKCS #8.
const PKCS8 = Buffer.from("302e020100300506032b657004220420", "hex");

function asymmetric({ secret, headers, body }) {
  const seed = Buffer.from(secret.slice("whsk_".length), "base64").subarray(0, 32);
  const key = crypto.createPublicKey(
    crypto.createPrivateKey({ key: Buffer.concat([PKCS8, seed]), format: "der", type: "pkcs8" }),
  );
  const text = `${headers["webhook-id"]}.${headers["webhook-timestamp"]}.${body}`;
  return headers["webhook-signature"]
    .split(" ")
    .map((one) => one.split(","))
    .filter(([version]) => version === "v1a")
    .some(([, signature]) => crypto.verify(null, Buffer.from(text), key, Buffer.from(signature, "base64")));
}

const given = JSON.parse(require("node:fs").readFileSync(0, "utf8"));
if (given.secret.startsWith("whsk_")) {
  process.exit(asymmetric(given) ? 0 : 1);
}
try {
  console.log(new Webhook(given.secret).verify(given.body, given.headers).type);
} catch (error) {
  if (!(error instanceof WebhookVerificationError)) throw error;
  console.log(error.message);
  process.exit(1);
}
