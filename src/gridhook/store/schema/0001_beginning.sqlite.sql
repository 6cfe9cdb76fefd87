-- The first schema, for SQLite. STRICT: a column holds the type it says. Account first in every key.

CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;

-- Hands out ids in blocks, so that inserts append and no insert has to be asked for its id.
CREATE TABLE counters (name TEXT PRIMARY KEY, next INTEGER NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO counters (name, next) VALUES ('events', 1), ('deliveries', 1), ('attempts', 1);

CREATE TABLE accounts (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  enterprise INTEGER NOT NULL CHECK (enterprise IN (0, 1)),
  created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE account_secrets (
  account_id TEXT NOT NULL,
  id TEXT NOT NULL,
  sealed BLOB NOT NULL,
  created_at INTEGER NOT NULL,
  revoked_at INTEGER,
  PRIMARY KEY (account_id, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE publisher_keys (
  id TEXT PRIMARY KEY,
  account_id TEXT,
  name TEXT NOT NULL,
  digest BLOB NOT NULL UNIQUE,
  created_at INTEGER NOT NULL,
  revoked_at INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE webhooks (
  account_id TEXT NOT NULL,
  id TEXT NOT NULL,
  name TEXT NOT NULL,
  url TEXT NOT NULL,
  url_version INTEGER NOT NULL,
  url_changed_at INTEGER,
  auth_method TEXT NOT NULL CHECK (auth_method IN ('bearer_token', 'mtls')),
  subscribed_events TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  verified_at INTEGER,
  paused_at INTEGER,
  deleted_at INTEGER,
  challenge_id TEXT,
  PRIMARY KEY (account_id, id)
) STRICT, WITHOUT ROWID;
-- for: webhook_page, webhook_total
CREATE INDEX webhooks_newest ON webhooks (account_id, created_at, id) WHERE deleted_at IS NULL;
-- for: unproven
CREATE INDEX webhooks_owed ON webhooks (account_id, id) WHERE challenge_id IS NOT NULL AND verified_at IS NULL AND deleted_at IS NULL;

CREATE TABLE webhook_credentials (
  account_id TEXT NOT NULL,
  webhook_id TEXT NOT NULL,
  id TEXT NOT NULL,
  sealed BLOB NOT NULL,
  created_at INTEGER NOT NULL,
  PRIMARY KEY (account_id, webhook_id, id)
) STRICT, WITHOUT ROWID;

-- Who wants an event: one probe per published type. for: fan_out
CREATE TABLE subscriptions (
  account_id TEXT NOT NULL,
  event_type TEXT NOT NULL,
  webhook_id TEXT NOT NULL,
  PRIMARY KEY (account_id, event_type, webhook_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE events (
  seq INTEGER PRIMARY KEY,
  account_id TEXT NOT NULL,
  id TEXT NOT NULL,
  type TEXT NOT NULL,
  time_at INTEGER NOT NULL,
  accepted_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  deliveries INTEGER NOT NULL,
  fingerprint BLOB NOT NULL,
  batch TEXT,
  payload BLOB NOT NULL
) STRICT;
-- for: insert_event (a repeat is answered, not repeated), known_event
CREATE UNIQUE INDEX events_id ON events (account_id, id);

-- The row is the queue. A lease is a token of eight bytes that name the process and eight that count.
CREATE TABLE deliveries (
  id INTEGER PRIMARY KEY,
  account_id TEXT NOT NULL,
  webhook_id TEXT NOT NULL,
  event_seq INTEGER NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('held', 'queued', 'delivered', 'failed')),
  failure_reason TEXT CHECK (failure_reason IN ('exhausted', 'expired', 'webhook_deleted')),
  due_at INTEGER,
  lease BLOB,
  lease_started_at INTEGER,
  attempts INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  CHECK ((state = 'queued') = (due_at IS NOT NULL)),
  CHECK ((state = 'failed') = (failure_reason IS NOT NULL)),
  CHECK (lease IS NULL OR state = 'queued')
) STRICT;
-- for: due, next_due, lanes, fail_queued, hold_queued, count_queued. A lane is one stretch of it; expires_at rides along for counts.
CREATE INDEX deliveries_queue ON deliveries (account_id, webhook_id, due_at, expires_at) WHERE due_at IS NOT NULL;
-- for: release_held, fail_held, held_lanes, count_held
CREATE INDEX deliveries_held ON deliveries (account_id, webhook_id, expires_at) WHERE state = 'held';
-- for: expire_held
CREATE INDEX deliveries_held_expiry ON deliveries (expires_at) WHERE state = 'held';

CREATE TABLE attempts (
  id INTEGER PRIMARY KEY,
  account_id TEXT NOT NULL,
  webhook_id TEXT NOT NULL,
  kind TEXT NOT NULL CHECK (kind IN ('delivery', 'verification', 'test')),
  delivery_id INTEGER,
  event_id TEXT,
  event_type TEXT,
  number INTEGER NOT NULL,
  started_at INTEGER NOT NULL,
  status INTEGER,
  reason TEXT,
  phase TEXT,
  detail TEXT,
  dns_us INTEGER,
  connect_us INTEGER,
  tls_us INTEGER,
  first_byte_us INTEGER,
  total_us INTEGER NOT NULL,
  remote_address TEXT,
  tls_version TEXT,
  reconnects INTEGER NOT NULL,
  truncated INTEGER NOT NULL,
  body_error TEXT,
  url TEXT NOT NULL,
  credential_id TEXT,
  next_attempt_at INTEGER,
  echo TEXT,
  headers BLOB NOT NULL,
  body BLOB NOT NULL,
  CHECK ((status IS NULL) = (reason IS NOT NULL))
) STRICT;
-- for: attempts_webhook_before, attempts_webhook_after
CREATE INDEX attempts_by_webhook ON attempts (account_id, webhook_id, started_at, id);
-- for: attempts_account_before, attempts_account_after
CREATE INDEX attempts_by_account ON attempts (account_id, started_at, id);
