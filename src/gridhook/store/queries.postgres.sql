-- What PostgreSQL must say differently, under the same name and with the same parameters. `many` statements take one array per
-- parameter, so that a batch of any size is one round trip and one prepared statement.

-- name: alloc
-- A sequence takes no lock until commit, as a row would: processes never wait for each other here. It steps by whole blocks.
SELECT CASE WHEN :size::bigint <= 10000 THEN nextval(('ids_of_' || :name::text)::regclass) END

-- name: insert_event
-- One round trip for a batch. In the order of the ids of events: two processes that publish the same events do not deadlock.
INSERT INTO events (seq, account_id, id, type, time_at, accepted_at, expires_at, deliveries, fingerprint, batch, payload)
SELECT * FROM unnest(:seq::bigint[], :account_id::text[], :id::text[], :type::text[], :time_at::bigint[], :accepted_at::bigint[],
  :expires_at::bigint[], :deliveries::bigint[], :fingerprint::bytea[], :batch::text[], :payload::bytea[])
  AS e (seq, account_id, id, type, time_at, accepted_at, expires_at, deliveries, fingerprint, batch, payload)
ORDER BY e.account_id, e.id, e.seq
ON CONFLICT (account_id, id) DO NOTHING

-- name: insert_delivery
-- COPY: the cheapest way in for rows that cannot conflict, for us and for the server. Its columns stand in the order of the parameters.
COPY deliveries (id, account_id, webhook_id, event_seq, state, due_at, lease, lease_started_at, attempts, expires_at, created_at) FROM STDIN

-- name: settle
-- One round trip for a batch; a lease that another worker holds matches no row.
UPDATE deliveries d SET state = s.state, failure_reason = s.failure_reason, due_at = s.due_at, attempts = s.attempts, lease = NULL,
  lease_started_at = NULL
FROM unnest(:state::text[], :failure_reason::text[], :due_at::bigint[], :attempts::bigint[], :id::bigint[], :lease::bytea[])
  AS s (state, failure_reason, due_at, attempts, id, lease)
WHERE d.id = s.id AND d.lease = s.lease
RETURNING d.id

-- name: insert_attempt
-- COPY, likewise.
COPY attempts (id, account_id, webhook_id, kind, delivery_id, event_id, event_type, number, started_at, status, reason, phase, detail,
  dns_us, connect_us, tls_us, first_byte_us, total_us, remote_address, tls_version, reconnects, truncated, body_error, url, credential_id,
  next_attempt_at, echo, headers, body) FROM STDIN

-- name: due
-- As rows. Those that another process is claiming are passed over, not waited for.
SELECT d.id, d.lease, d.lease_started_at, d.attempts, d.expires_at, e.id, e.type, e.time_at, e.payload
FROM deliveries d JOIN events e ON e.account_id = d.account_id AND e.seq = d.event_seq
WHERE d.account_id = :account_id AND d.webhook_id = :webhook_id AND d.due_at IS NOT NULL AND d.due_at <= :now
ORDER BY d.due_at
LIMIT :limit
FOR UPDATE OF d SKIP LOCKED

-- name: lease
-- One round trip for a batch.
UPDATE deliveries d SET due_at = s.due_at, lease = s.lease, lease_started_at = s.lease_started_at, attempts = s.attempts
FROM unnest(:due_at::bigint[], :lease::bytea[], :lease_started_at::bigint[], :attempts::bigint[], :id::bigint[])
  AS s (due_at, lease, lease_started_at, attempts, id)
WHERE d.id = s.id

-- name: set_aside
-- One round trip for a batch.
UPDATE deliveries d SET state = s.state, failure_reason = s.failure_reason, due_at = NULL, lease = NULL, lease_started_at = NULL
FROM unnest(:state::text[], :failure_reason::text[], :id::bigint[]) AS s (state, failure_reason, id)
WHERE d.id = s.id

-- name: release
-- One round trip for a batch.
UPDATE deliveries d SET due_at = s.due_at, attempts = attempts - 1, lease = NULL, lease_started_at = NULL
FROM unnest(:due_at::bigint[], :id::bigint[], :lease::bytea[]) AS s (due_at, id, lease)
WHERE d.id = s.id AND d.lease = s.lease

-- name: release_held
-- Two processes that release the same rows share them out instead of waiting.
UPDATE deliveries SET state = 'queued', due_at = :now
WHERE id IN (
  SELECT id FROM deliveries WHERE account_id = :account_id AND webhook_id = :webhook_id AND state = 'held'
  ORDER BY expires_at LIMIT :limit FOR UPDATE SKIP LOCKED)

-- name: fail_held
-- Likewise.
UPDATE deliveries SET state = 'failed', failure_reason = 'webhook_deleted'
WHERE id IN (
  SELECT id FROM deliveries WHERE account_id = :account_id AND webhook_id = :webhook_id AND state = 'held'
  ORDER BY expires_at LIMIT :limit FOR UPDATE SKIP LOCKED)

-- name: expire_held
-- Likewise.
UPDATE deliveries SET state = 'failed', failure_reason = 'expired'
WHERE id IN (SELECT id FROM deliveries WHERE state = 'held' AND expires_at <= :now ORDER BY expires_at LIMIT :limit FOR UPDATE SKIP LOCKED)

-- name: fail_queued
-- A row that is being claimed at this moment is left to the claim's own check of the webhook.
UPDATE deliveries SET state = 'failed', failure_reason = 'webhook_deleted', due_at = NULL
WHERE id IN (
  SELECT id FROM deliveries WHERE account_id = :account_id AND webhook_id = :webhook_id AND due_at IS NOT NULL AND lease IS NULL
  ORDER BY due_at LIMIT :limit FOR UPDATE SKIP LOCKED)

-- name: hold_queued
-- Likewise.
UPDATE deliveries SET state = 'held', due_at = NULL
WHERE id IN (
  SELECT id FROM deliveries WHERE account_id = :account_id AND webhook_id = :webhook_id AND due_at IS NOT NULL AND lease IS NULL
  ORDER BY due_at LIMIT :limit FOR UPDATE SKIP LOCKED)

-- name: database_now
-- The only clock that all processes share; not now(), which stands still during a transaction.
SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint
