-- Editing, pausing, health, the log by filters, redelivery and retention, for PostgreSQL.

ALTER TABLE webhooks ADD COLUMN revision bigint NOT NULL DEFAULT 1;
ALTER TABLE webhooks ADD COLUMN max_in_flight bigint;
ALTER TABLE webhooks ADD COLUMN rate_per_second double precision;
ALTER TABLE webhooks ADD COLUMN extras bytea;

-- The key in use is the newest of those whose time has come.
ALTER TABLE webhook_credentials ADD COLUMN activates_at bigint NOT NULL DEFAULT 0;

ALTER TABLE events ADD COLUMN is_test bigint NOT NULL DEFAULT 0 CHECK (is_test IN (0, 1));

ALTER TABLE deliveries ADD COLUMN last_result text;
ALTER TABLE deliveries ADD COLUMN origin text CHECK (origin IN ('redelivery', 'recovery'));
ALTER TABLE deliveries ADD COLUMN recovery_id text;
-- for: deliveries_before, deliveries_after. Ids rise with time: they are handed out by the writer.
CREATE INDEX deliveries_log ON deliveries (account_id, webhook_id, id);
-- for: undelivered, and pages of failed deliveries
CREATE INDEX deliveries_failed ON deliveries (account_id, webhook_id, id, failure_reason, last_result, created_at) WHERE state = 'failed';
-- for: deliveries_of_event, waiting_twin
CREATE INDEX deliveries_by_event ON deliveries (event_seq, webhook_id);

ALTER TABLE attempts ADD COLUMN bodies_dropped bigint NOT NULL DEFAULT 0 CHECK (bodies_dropped IN (0, 1));
-- for: pages of failed attempts
CREATE INDEX attempts_failed ON attempts (account_id, webhook_id, started_at, id) WHERE status IS NULL OR status NOT IN (200, 201);
-- for: pages of tests and handshakes
CREATE INDEX attempts_not_deliveries ON attempts (account_id, webhook_id, kind, started_at, id) WHERE kind <> 'delivery';
-- for: attempts_of_delivery
CREATE INDEX attempts_by_delivery ON attempts (delivery_id) WHERE delivery_id IS NOT NULL;

CREATE TABLE recoveries (
  account_id text NOT NULL,
  webhook_id text NOT NULL,
  id text NOT NULL,
  state text NOT NULL CHECK (state IN ('running', 'done', 'cancelled')),
  filter text NOT NULL,
  rate_per_second double precision NOT NULL,
  created_at bigint NOT NULL,
  finished_at bigint,
  next_step_at bigint NOT NULL,
  next_id bigint NOT NULL,
  last_id bigint NOT NULL,
  total bigint NOT NULL,
  examined bigint NOT NULL DEFAULT 0,
  requeued bigint NOT NULL DEFAULT 0,
  skipped bigint NOT NULL DEFAULT 0,
  gone bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (account_id, webhook_id, id),
  CHECK ((state = 'running') = (finished_at IS NULL))
);
-- for: running_recoveries
CREATE INDEX recoveries_running ON recoveries (next_step_at) WHERE state = 'running';
-- for: add_recovery (one at a time for each webhook)
CREATE UNIQUE INDEX recoveries_one ON recoveries (account_id, webhook_id) WHERE state = 'running';

-- Counters, kept in the transaction that writes the attempts. They outlive the log.
CREATE TABLE webhook_health (
  account_id text NOT NULL,
  webhook_id text NOT NULL,
  failing_since bigint,
  consecutive_failures bigint NOT NULL,
  last_success_at bigint,
  last_failure_at bigint,
  last_result text,
  succeeded bigint NOT NULL,
  failed bigint NOT NULL,
  PRIMARY KEY (account_id, webhook_id)
);

-- l0 to l10: how many took up to 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000 ms, and longer.
CREATE TABLE webhook_minutes (
  account_id text NOT NULL,
  webhook_id text NOT NULL,
  minute_at bigint NOT NULL,
  succeeded bigint NOT NULL,
  failed bigint NOT NULL,
  retries bigint NOT NULL,
  latency_ms bigint NOT NULL,
  l0 bigint NOT NULL, l1 bigint NOT NULL, l2 bigint NOT NULL, l3 bigint NOT NULL, l4 bigint NOT NULL, l5 bigint NOT NULL,
  l6 bigint NOT NULL, l7 bigint NOT NULL, l8 bigint NOT NULL, l9 bigint NOT NULL, l10 bigint NOT NULL,
  PRIMARY KEY (account_id, webhook_id, minute_at)
);
-- for: prune_minutes
CREATE INDEX webhook_minutes_age ON webhook_minutes (minute_at);
