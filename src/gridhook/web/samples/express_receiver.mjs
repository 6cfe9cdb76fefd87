// npm install express
// PRIVATE_KEY=... node express_receiver.mjs     (without PRIVATE_KEY it answers the handshake only)
import crypto from "node:crypto";
import express from "express";

const privateKey = process.env.PRIVATE_KEY ?? ""; // shown once, when the webhook is created
const sha256 = (text) => crypto.createHash("sha256").update(text).digest(); // timingSafeEqual wants equal lengths
const expected = sha256(`Bearer ${privateKey}`);

// Keep these in your database, for a day: retries end after 6 hours, but a person may send an event again.
const seen = new Set();

const app = express();

// The handshake: it carries no Authorization, so answer it before the key is checked.
app.post("/webhook", (req, res, next) => {
  const challenge = req.get("X-AccessGrid-Webhook-Challenge");
  if (challenge) return res.status(200).json({ challenge });

  const given = sha256(req.get("Authorization") ?? "");
  if (!privateKey || !crypto.timingSafeEqual(given, expected)) return res.sendStatus(401);
  next();
});

// express.json() alone reads application/json only, up to 100 kB, and would leave events unread.
const readEvent = express.json({ type: "application/cloudevents+json", limit: "1mb" });

app.post("/webhook", readEvent, (req, res) => {
  const event = req.body;
  const isNew = !seen.has(event.id); // an event may come twice: take each id once, and answer 200 to the second one too
  seen.add(event.id); // for real, store the whole event here: after your 200 it is yours
  res.status(200).json({ received: true }); // within 15 seconds
  if (isNew) setImmediate(workOn, event);
});

function workOn(event) {
  // event.test is true on events made by "Send Test"
  console.log(event.type, event.id, event.test ? "(test)" : "", JSON.stringify(event.data));
}

app.listen(Number(process.env.PORT ?? 8000));
