-- Editing, pausing, health, the log by filters, redelivery and retention, for SQLite.

ALTER TABLE webhooks ADD COLUMN revision INTEGER NOT NULL DEFAULT 1;
ALTER TABLE webhooks ADD COLUMN max_in_flight INTEGER;
ALTER TABLE webhooks ADD COLUMN rate_per_second REAL;
ALTER TABLE webhooks ADD COLUMN extras BLOB;

-- The key in use is the newest of those whose time has come. One that another replaces is forgotten a while later.
ALTER TABLE webhook_credentials ADD COLUMN activates_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE webhook_credentials ADD COLUMN forget_at INTEGER;
UPDATE webhook_credentials SET activates_at = created_at;
-- for: forget_replaced
CREATE INDEX webhook_credentials_replaced ON webhook_credentials (forget_at) WHERE forget_at IS NOT NULL;

ALTER TABLE events ADD COLUMN is_test INTEGER NOT NULL DEFAULT 0 CHECK (is_test IN (0, 1));

ALTER TABLE deliveries ADD COLUMN last_result TEXT;
ALTER TABLE deliveries ADD COLUMN origin TEXT CHECK (origin IN ('redelivery', 'recovery'));
ALTER TABLE deliveries ADD COLUMN recovery_id TEXT;
-- for: deliveries_log_before, deliveries_log_after. By time, not by id: processes take ids in blocks, and a slow one's lag behind.
CREATE INDEX deliveries_log ON deliveries (account_id, webhook_id, created_at, id);
-- for: deliveries_failed_before, deliveries_failed_after, undelivered_failed. The reasons ride along to be counted.
CREATE INDEX deliveries_failed ON deliveries (account_id, webhook_id, created_at, id, failure_reason, last_result) WHERE state = 'failed';
-- for: deliveries_of_event_before, twins, drop_payloads, prune_events
CREATE INDEX deliveries_by_event ON deliveries (event_seq, webhook_id);

ALTER TABLE attempts ADD COLUMN bodies_dropped INTEGER NOT NULL DEFAULT 0 CHECK (bodies_dropped IN (0, 1));
-- for: attempts_failed_before, attempts_failed_after
CREATE INDEX attempts_failed ON attempts (account_id, webhook_id, started_at, id) WHERE status IS NULL OR status NOT IN (200, 201);
-- for: attempts_other_before, attempts_other_after
CREATE INDEX attempts_not_deliveries ON attempts (account_id, webhook_id, kind, started_at, id) WHERE kind <> 'delivery';
-- for: attempts_of_event_before, attempts_of_event_after
CREATE INDEX attempts_by_delivery ON attempts (delivery_id) WHERE delivery_id IS NOT NULL;
-- for: attempts_of_event_before, attempts_of_event_after. A test has no delivery.
CREATE INDEX attempts_of_tests ON attempts (account_id, event_id) WHERE kind = 'test';

-- `after_at`, `after_id`: how far it has come in deliveries_log.
CREATE TABLE recoveries (
  account_id TEXT NOT NULL,
  webhook_id TEXT NOT NULL,
  id TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('running', 'done', 'cancelled')),
  filter TEXT NOT NULL,
  rate_per_second REAL NOT NULL,
  created_at INTEGER NOT NULL,
  finished_at INTEGER,
  next_step_at INTEGER NOT NULL,
  after_at INTEGER NOT NULL,
  after_id INTEGER NOT NULL,
  total INTEGER NOT NULL,
  examined INTEGER NOT NULL DEFAULT 0,
  requeued INTEGER NOT NULL DEFAULT 0,
  skipped INTEGER NOT NULL DEFAULT 0,
  gone INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (account_id, webhook_id, id),
  CHECK ((state = 'running') = (finished_at IS NULL))
) STRICT, WITHOUT ROWID;
-- for: running_recoveries
CREATE INDEX recoveries_running ON recoveries (next_step_at) WHERE state = 'running';
-- for: prune_recoveries
CREATE INDEX recoveries_ended ON recoveries (finished_at) WHERE finished_at IS NOT NULL;
-- for: add_recovery (one at a time for each webhook)
CREATE UNIQUE INDEX recoveries_one ON recoveries (account_id, webhook_id) WHERE state = 'running';

-- Counters, kept in the transaction that writes the attempts. They outlive the log.
CREATE TABLE webhook_health (
  account_id TEXT NOT NULL,
  webhook_id TEXT NOT NULL,
  failing_since INTEGER,
  consecutive_failures INTEGER NOT NULL,
  last_success_at INTEGER,
  last_failure_at INTEGER,
  last_result TEXT,
  succeeded INTEGER NOT NULL,
  failed INTEGER NOT NULL,
  PRIMARY KEY (account_id, webhook_id)
) STRICT, WITHOUT ROWID;

-- l0 to l10: how many took up to 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000 ms, and longer.
CREATE TABLE webhook_minutes (
  account_id TEXT NOT NULL,
  webhook_id TEXT NOT NULL,
  minute_at INTEGER NOT NULL,
  succeeded INTEGER NOT NULL,
  failed INTEGER NOT NULL,
  retries INTEGER NOT NULL,
  latency_ms INTEGER NOT NULL,
  l0 INTEGER NOT NULL, l1 INTEGER NOT NULL, l2 INTEGER NOT NULL, l3 INTEGER NOT NULL, l4 INTEGER NOT NULL, l5 INTEGER NOT NULL,
  l6 INTEGER NOT NULL, l7 INTEGER NOT NULL, l8 INTEGER NOT NULL, l9 INTEGER NOT NULL, l10 INTEGER NOT NULL,
  PRIMARY KEY (account_id, webhook_id, minute_at)
) STRICT, WITHOUT ROWID;
-- for: prune_minutes
CREATE INDEX webhook_minutes_age ON webhook_minutes (minute_at);
