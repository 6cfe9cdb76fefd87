-- The first schema, for PostgreSQL. Text sorts by its bytes, as in SQLite. Account first in every key, or carried by it.

CREATE TABLE meta (key TEXT COLLATE "C" PRIMARY KEY, value BYTEA NOT NULL);

-- Hand out ids in blocks of 10,000, so that inserts append and no insert has to be asked for its id. Sequences, not rows:
-- processes that need a block at the same time must not wait for each other's commit.
CREATE SEQUENCE ids_of_events INCREMENT BY 10000;
CREATE SEQUENCE ids_of_deliveries INCREMENT BY 10000;
CREATE SEQUENCE ids_of_attempts INCREMENT BY 10000;

CREATE TABLE accounts (
  id TEXT COLLATE "C" PRIMARY KEY,
  name TEXT COLLATE "C" NOT NULL,
  enterprise BIGINT NOT NULL CHECK (enterprise IN (0, 1)),
  created_at BIGINT NOT NULL
);

CREATE TABLE account_secrets (
  account_id TEXT COLLATE "C" NOT NULL,
  id TEXT COLLATE "C" NOT NULL,
  sealed BYTEA NOT NULL,
  created_at BIGINT NOT NULL,
  revoked_at BIGINT,
  PRIMARY KEY (account_id, id)
);

CREATE TABLE publisher_keys (
  id TEXT COLLATE "C" PRIMARY KEY,
  account_id TEXT COLLATE "C",
  name TEXT COLLATE "C" NOT NULL,
  digest BYTEA NOT NULL UNIQUE,
  created_at BIGINT NOT NULL,
  revoked_at BIGINT
);

CREATE TABLE webhooks (
  account_id TEXT COLLATE "C" NOT NULL,
  id TEXT COLLATE "C" NOT NULL,
  name TEXT COLLATE "C" NOT NULL,
  url TEXT COLLATE "C" NOT NULL,
  url_version BIGINT NOT NULL,
  url_changed_at BIGINT,
  auth_method TEXT COLLATE "C" NOT NULL CHECK (auth_method IN ('bearer_token', 'mtls')),
  subscribed_events TEXT COLLATE "C" NOT NULL,
  created_at BIGINT NOT NULL,
  verified_at BIGINT,
  paused_at BIGINT,
  deleted_at BIGINT,
  challenge_id TEXT COLLATE "C",
  PRIMARY KEY (account_id, id)
);
-- for: webhook_page, webhook_total
CREATE INDEX webhooks_newest ON webhooks (account_id, created_at, id) WHERE deleted_at IS NULL;
-- for: unproven
CREATE INDEX webhooks_owed ON webhooks (account_id, id) WHERE challenge_id IS NOT NULL AND verified_at IS NULL AND deleted_at IS NULL;

CREATE TABLE webhook_credentials (
  account_id TEXT COLLATE "C" NOT NULL,
  webhook_id TEXT COLLATE "C" NOT NULL,
  id TEXT COLLATE "C" NOT NULL,
  sealed BYTEA NOT NULL,
  created_at BIGINT NOT NULL,
  PRIMARY KEY (account_id, webhook_id, id)
);

-- Who wants an event: one probe per published type. for: fan_out
CREATE TABLE subscriptions (
  account_id TEXT COLLATE "C" NOT NULL,
  event_type TEXT COLLATE "C" NOT NULL,
  webhook_id TEXT COLLATE "C" NOT NULL,
  PRIMARY KEY (account_id, event_type, webhook_id)
);

CREATE TABLE events (
  seq BIGINT PRIMARY KEY,
  account_id TEXT COLLATE "C" NOT NULL,
  id TEXT COLLATE "C" NOT NULL,
  type TEXT COLLATE "C" NOT NULL,
  time_at BIGINT NOT NULL,
  accepted_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL,
  deliveries BIGINT NOT NULL,
  fingerprint BYTEA NOT NULL,
  batch TEXT COLLATE "C",
  payload BYTEA NOT NULL
);
-- for: insert_event (a repeat is answered, not repeated), known_event
CREATE UNIQUE INDEX events_id ON events (account_id, id);

-- The row is the queue. A lease is a token of eight bytes that name the process and eight that count.
CREATE TABLE deliveries (
  id BIGINT PRIMARY KEY,
  account_id TEXT COLLATE "C" NOT NULL,
  webhook_id TEXT COLLATE "C" NOT NULL,
  event_seq BIGINT NOT NULL,
  state TEXT COLLATE "C" NOT NULL CHECK (state IN ('held', 'queued', 'delivered', 'failed')),
  failure_reason TEXT COLLATE "C" CHECK (failure_reason IN ('exhausted', 'expired', 'webhook_deleted')),
  due_at BIGINT,
  lease BYTEA,
  lease_started_at BIGINT,
  attempts BIGINT NOT NULL,
  expires_at BIGINT NOT NULL,
  created_at BIGINT NOT NULL,
  CHECK ((state = 'queued') = (due_at IS NOT NULL)),
  CHECK ((state = 'failed') = (failure_reason IS NOT NULL)),
  CHECK (lease IS NULL OR state = 'queued')
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 1);
-- Each row is written twice at least: dead versions must go early, or the queue's index grows.
-- for: due, next_due, lanes, fail_queued, hold_queued, count_queued. A lane is one stretch of it; expires_at rides along for counts.
CREATE INDEX deliveries_queue ON deliveries (account_id, webhook_id, due_at, expires_at) WHERE due_at IS NOT NULL;
-- for: release_held, fail_held, held_lanes, count_held
CREATE INDEX deliveries_held ON deliveries (account_id, webhook_id, expires_at) WHERE state = 'held';
-- for: expire_held
CREATE INDEX deliveries_held_expiry ON deliveries (expires_at) WHERE state = 'held';

CREATE TABLE attempts (
  id BIGINT PRIMARY KEY,
  account_id TEXT COLLATE "C" NOT NULL,
  webhook_id TEXT COLLATE "C" NOT NULL,
  kind TEXT COLLATE "C" NOT NULL CHECK (kind IN ('delivery', 'verification', 'test')),
  delivery_id BIGINT,
  event_id TEXT COLLATE "C",
  event_type TEXT COLLATE "C",
  number BIGINT NOT NULL,
  started_at BIGINT NOT NULL,
  status BIGINT,
  reason TEXT COLLATE "C",
  phase TEXT COLLATE "C",
  detail TEXT COLLATE "C",
  dns_us BIGINT,
  connect_us BIGINT,
  tls_us BIGINT,
  first_byte_us BIGINT,
  total_us BIGINT NOT NULL,
  remote_address TEXT COLLATE "C",
  tls_version TEXT COLLATE "C",
  reconnects BIGINT NOT NULL,
  truncated BIGINT NOT NULL,
  body_error TEXT COLLATE "C",
  url TEXT COLLATE "C" NOT NULL,
  credential_id TEXT COLLATE "C",
  next_attempt_at BIGINT,
  echo TEXT COLLATE "C",
  headers BYTEA NOT NULL,
  body BYTEA NOT NULL,
  CHECK ((status IS NULL) = (reason IS NOT NULL))
);
-- for: attempts_webhook_before, attempts_webhook_after
CREATE INDEX attempts_by_webhook ON attempts (account_id, webhook_id, started_at, id);
-- for: attempts_account_before, attempts_account_after
CREATE INDEX attempts_by_account ON attempts (account_id, started_at, id);
