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
-- A newer delivery of the same event was asked for: what became of the event stands there.
ALTER TABLE deliveries ADD COLUMN redelivered INTEGER NOT NULL DEFAULT 0 CHECK (redelivered IN (0, 1));
ALTER TABLE deliveries ADD COLUMN recovery_id TEXT;
-- for: deliveries_log_before, deliveries_log_after. By time, not by id: processes take ids in blocks, and a slow one's lag behind.
CREATE INDEX deliveries_log ON deliveries (account_id, webhook_id, created_at, id);
-- The state is in it so that SQLite finds it the better match than deliveries_log.
-- for: deliveries_failed_before, deliveries_failed_after, undelivered_failed. The reasons ride along to be counted.
CREATE INDEX deliveries_failed ON deliveries (account_id, webhook_id, state, created_at, id, failure_reason, last_result, redelivered)
WHERE state = 'failed';
DROP INDEX deliveries_held;
-- for: release_held, fail_held, held_lanes, count_held, held, undelivered_held. What is counted rides along.
CREATE INDEX deliveries_held ON deliveries (account_id, webhook_id, expires_at, created_at, last_result) WHERE state = 'held';
-- for: deliveries_of_event_before, deliveries_by_event, twins, drop_payloads, prune_events
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

-- What the log already says, so that nothing starts anew. The last hour and day fill by themselves.
UPDATE deliveries SET last_result = (
  SELECT coalesce(CAST(a.status AS TEXT), a.reason) FROM attempts a WHERE a.delivery_id = deliveries.id
  ORDER BY a.started_at DESC, a.id DESC LIMIT 1)
WHERE attempts > 0;
INSERT INTO webhook_health (account_id, webhook_id, failing_since, consecutive_failures, last_success_at, last_failure_at, last_result,
  succeeded, failed)
WITH ended AS (
  SELECT account_id, webhook_id, started_at, started_at + total_us / 1000 AS ended_at, coalesce(status IN (200, 201), FALSE) AS received,
    coalesce(CAST(status AS TEXT), reason) AS result,
    row_number() OVER (PARTITION BY account_id, webhook_id ORDER BY started_at + total_us / 1000 DESC, id DESC) AS from_last
  FROM attempts WHERE kind = 'delivery' AND (reason IS NULL OR reason NOT IN ('interrupted', 'worker_lost'))),
latest AS (
  SELECT account_id, webhook_id, max(CASE WHEN received THEN ended_at END) AS success_at,
    max(CASE WHEN NOT received THEN ended_at END) AS failure_at
  FROM ended GROUP BY account_id, webhook_id)
SELECT l.account_id, l.webhook_id, min(CASE WHEN e.ended_at > coalesce(l.success_at, 0) THEN e.started_at END),
  sum(CASE WHEN e.ended_at > coalesce(l.success_at, 0) THEN 1 ELSE 0 END), l.success_at, l.failure_at,
  max(CASE WHEN e.from_last = 1 THEN e.result END), sum(CASE WHEN e.received THEN 1 ELSE 0 END), sum(CASE WHEN e.received THEN 0 ELSE 1 END)
FROM latest l JOIN ended e ON e.account_id = l.account_id AND e.webhook_id = l.webhook_id
GROUP BY l.account_id, l.webhook_id, l.success_at, l.failure_at;
