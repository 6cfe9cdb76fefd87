// A receiver on Node's own https: one JSON line per request on standard output, the port first. Ends with its standard input.
const fs = require("node:fs");
const https = require("node:https");

const { pem, ca, version, pinned, keepAlive } = JSON.parse(process.argv[2]);
const say = (line) => process.stdout.write(JSON.stringify(line) + "\n");
let connections = 0;

const server = https.createServer({
  key: fs.readFileSync(pem),
  cert: fs.readFileSync(pem),
  ca: fs.readFileSync(ca),
  requestCert: true,
  rejectUnauthorized: true,
  minVersion: `TLSv${version}`,
  maxVersion: `TLSv${version}`,
  keepAliveTimeout: 60_000,
}, (request, response) => {
  if (request.socket.destroyed) return; // it was sent right behind the handshake
  request.resume().on("end", () => {
    say({
      connection: request.socket.number,
      resumed: request.socket.isSessionReused(),
      certificate: request.socket.shown.raw.toString("base64"),
      authorization: request.headers.authorization ?? "",
      path: request.url,
      status: 200,
    });
    const challenge = request.headers["x-accessgrid-webhook-challenge"];
    if (!keepAlive) response.setHeader("Connection", "close");
    response.setHeader("Content-Type", "application/json");
    response.end(JSON.stringify(challenge ? { challenge } : { received: true }));
  });
});
server.on("secureConnection", (socket) => {
  socket.number = ++connections;
  socket.shown = socket.getPeerCertificate();
  if (pinned && socket.shown.fingerprint256.replaceAll(":", "").toLowerCase() !== pinned) {
    say({ refused: "not the pinned certificate" });
    socket.destroy();
  }
});
server.on("tlsClientError", (error) => say({ refused: error.code ?? error.message }));
server.listen(0, "127.0.0.1", () => say({ port: server.address().port }));
process.stdin.resume().on("end", () => process.exit(0));
