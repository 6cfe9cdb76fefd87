-- What PostgreSQL must say differently, under the same name and with the same parameters. `many` statements take one array per
-- parameter, so that a batch of any size is one round trip and one prepared statement.

-- name: alloc
-- A sequence takes no lock until commit, as a row would: processes never wait for each other here. It steps by whole blocks.
SELECT CASE WHEN :size::bigint <= 10000 THEN nextval(('ids_of_' || :name::text)::regclass) END

-- name: counters_behind
-- A sequence shows what it is now, a table what it was when the statement began: one that others take ids from is not found behind.
SELECT kind, next, last
FROM (
  SELECT 'events' AS kind, (SELECT max(seq) FROM events) AS last,
    (SELECT last_value + CASE WHEN is_called THEN 10000 ELSE 0 END FROM ids_of_events) AS next
  UNION ALL SELECT 'deliveries', (SELECT max(id) FROM deliveries),
    (SELECT last_value + CASE WHEN is_called THEN 10000 ELSE 0 END FROM ids_of_deliveries)
  UNION ALL SELECT 'attempts', (SELECT max(id) FROM attempts),
    (SELECT last_value + CASE WHEN is_called THEN 10000 ELSE 0 END FROM ids_of_attempts)) AS t
WHERE next <= last

-- name: skip_ids
-- Block by block, not by setval: that could set back what another process takes from meanwhile.
SELECT count(nextval(('ids_of_' || :name::text)::regclass)) FROM generate_series(1, (:size::bigint + 9999) / 10000)

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
  lease_started_at = NULL, last_result = s.last_result
FROM unnest(:state::text[], :failure_reason::text[], :due_at::bigint[], :attempts::bigint[], :id::bigint[], :lease::bytea[],
  :last_result::text[]) AS s (state, failure_reason, due_at, attempts, id, lease, last_result)
WHERE d.id = s.id AND d.lease = s.lease
RETURNING d.id

-- name: insert_attempt
-- COPY, likewise.
COPY attempts (id, account_id, webhook_id, kind, delivery_id, event_id, event_type, number, started_at, status, reason, phase, detail,
  dns_us, connect_us, tls_us, first_byte_us, total_us, remote_address, tls_version, reconnects, truncated, body_error, url, credential_id,
  next_attempt_at, echo, note, headers, body) FROM STDIN

-- name: due
-- As rows. Those that another process is claiming are passed over, not waited for.
SELECT d.id, d.lease, d.lease_started_at, d.attempts, d.expires_at, e.id, e.type, e.time_at, e.payload
FROM deliveries d JOIN events e ON e.account_id = d.account_id AND e.seq = d.event_seq
WHERE d.account_id = :account_id AND d.webhook_id = :webhook_id AND d.due_at IS NOT NULL AND d.due_at <= :now
ORDER BY d.due_at, d.expires_at
LIMIT :limit
FOR UPDATE OF d SKIP LOCKED

-- name: lease
-- One round trip for a batch.
UPDATE deliveries d SET due_at = s.due_at, lease = s.lease, lease_started_at = s.lease_started_at, attempts = s.attempts,
  last_result = coalesce(s.lost, d.last_result)
FROM unnest(:due_at::bigint[], :lease::bytea[], :lease_started_at::bigint[], :attempts::bigint[], :id::bigint[], :lost::text[])
  AS s (due_at, lease, lease_started_at, attempts, id, lost)
WHERE d.id = s.id

-- name: set_aside
-- One round trip for a batch.
UPDATE deliveries d SET state = s.state, failure_reason = s.failure_reason, due_at = NULL, lease = NULL, lease_started_at = NULL,
  last_result = coalesce(s.lost, d.last_result)
FROM unnest(:state::text[], :failure_reason::text[], :id::bigint[], :lost::text[]) AS s (state, failure_reason, id, lost)
WHERE d.id = s.id

-- name: fail_expired
-- Those that another process is claiming are passed over.
UPDATE deliveries SET state = 'failed', failure_reason = 'expired', due_at = NULL
WHERE id IN (SELECT id FROM (
  SELECT id, lease, expires_at FROM deliveries
  WHERE account_id = :account_id AND webhook_id = :webhook_id AND due_at IS NOT NULL AND due_at <= :now
  ORDER BY due_at, expires_at LIMIT :limit FOR UPDATE SKIP LOCKED) AS first
WHERE lease IS NULL AND expires_at <= :now)

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

-- name: held
-- One by one: for an array the planner may prefer an index over all lanes.
SELECT w.id, h.count, h.expires_at FROM json_array_elements_text(:webhook_ids::json) AS w (id), LATERAL (
  SELECT count(*) AS count, min(expires_at) AS expires_at FROM (SELECT expires_at FROM deliveries
    WHERE account_id = :account_id AND webhook_id = w.id AND state = 'held' ORDER BY expires_at LIMIT :most) AS first) AS h

-- piece: for_update
-- Two processes that edit one webhook wait for each other.
FOR UPDATE

-- name: count_attempts
-- One round trip for a batch. In the order of the keys: two processes that count for the same webhooks do not deadlock.
INSERT INTO webhook_health (account_id, webhook_id, failing_since, consecutive_failures, last_success_at, last_failure_at, last_result,
  succeeded, failed)
SELECT * FROM unnest(:account_id::text[], :webhook_id::text[], :failing_since::bigint[], :consecutive_failures::bigint[],
  :last_success_at::bigint[], :last_failure_at::bigint[], :last_result::text[], :succeeded::bigint[], :failed::bigint[])
  AS h (account_id, webhook_id, failing_since, consecutive_failures, last_success_at, last_failure_at, last_result, succeeded, failed)
ORDER BY h.account_id, h.webhook_id
ON CONFLICT (account_id, webhook_id) DO UPDATE SET
  failing_since = CASE WHEN excluded.succeeded > 0 THEN excluded.failing_since
    ELSE coalesce(webhook_health.failing_since, excluded.failing_since) END,
  consecutive_failures = CASE WHEN excluded.succeeded > 0 THEN 0 ELSE webhook_health.consecutive_failures END
    + excluded.consecutive_failures,
  last_success_at = CASE WHEN webhook_health.last_success_at > coalesce(excluded.last_success_at, 0) THEN webhook_health.last_success_at
    ELSE excluded.last_success_at END,
  last_failure_at = CASE WHEN webhook_health.last_failure_at > coalesce(excluded.last_failure_at, 0) THEN webhook_health.last_failure_at
    ELSE excluded.last_failure_at END,
  last_result = excluded.last_result,
  succeeded = webhook_health.succeeded + excluded.succeeded, failed = webhook_health.failed + excluded.failed

-- name: count_minutes
-- Likewise.
INSERT INTO webhook_minutes (account_id, webhook_id, minute_at, succeeded, failed, retries, latency_ms,
  l0, l1, l2, l3, l4, l5, l6, l7, l8, l9, l10)
SELECT * FROM unnest(:account_id::text[], :webhook_id::text[], :minute_at::bigint[], :succeeded::bigint[], :failed::bigint[],
  :retries::bigint[], :latency_ms::bigint[], :l0::bigint[], :l1::bigint[], :l2::bigint[], :l3::bigint[], :l4::bigint[], :l5::bigint[],
  :l6::bigint[], :l7::bigint[], :l8::bigint[], :l9::bigint[], :l10::bigint[])
  AS m (account_id, webhook_id, minute_at)
ORDER BY m.account_id, m.webhook_id, m.minute_at
ON CONFLICT (account_id, webhook_id, minute_at) DO UPDATE SET
  succeeded = webhook_minutes.succeeded + excluded.succeeded, failed = webhook_minutes.failed + excluded.failed,
  retries = webhook_minutes.retries + excluded.retries, latency_ms = webhook_minutes.latency_ms + excluded.latency_ms,
  l0 = webhook_minutes.l0 + excluded.l0, l1 = webhook_minutes.l1 + excluded.l1, l2 = webhook_minutes.l2 + excluded.l2,
  l3 = webhook_minutes.l3 + excluded.l3, l4 = webhook_minutes.l4 + excluded.l4, l5 = webhook_minutes.l5 + excluded.l5,
  l6 = webhook_minutes.l6 + excluded.l6, l7 = webhook_minutes.l7 + excluded.l7, l8 = webhook_minutes.l8 + excluded.l8,
  l9 = webhook_minutes.l9 + excluded.l9, l10 = webhook_minutes.l10 + excluded.l10

-- name: count_account_minutes
-- Likewise; no other process has these rows.
INSERT INTO account_minutes (account_id, minute_at, shard, succeeded, failed, retries, latency_ms,
  l0, l1, l2, l3, l4, l5, l6, l7, l8, l9, l10)
SELECT * FROM unnest(:account_id::text[], :minute_at::bigint[], :shard::bigint[], :succeeded::bigint[], :failed::bigint[],
  :retries::bigint[], :latency_ms::bigint[], :l0::bigint[], :l1::bigint[], :l2::bigint[], :l3::bigint[], :l4::bigint[], :l5::bigint[],
  :l6::bigint[], :l7::bigint[], :l8::bigint[], :l9::bigint[], :l10::bigint[])
ON CONFLICT (account_id, minute_at, shard) DO UPDATE SET
  succeeded = account_minutes.succeeded + excluded.succeeded, failed = account_minutes.failed + excluded.failed,
  retries = account_minutes.retries + excluded.retries, latency_ms = account_minutes.latency_ms + excluded.latency_ms,
  l0 = account_minutes.l0 + excluded.l0, l1 = account_minutes.l1 + excluded.l1, l2 = account_minutes.l2 + excluded.l2,
  l3 = account_minutes.l3 + excluded.l3, l4 = account_minutes.l4 + excluded.l4, l5 = account_minutes.l5 + excluded.l5,
  l6 = account_minutes.l6 + excluded.l6, l7 = account_minutes.l7 + excluded.l7, l8 = account_minutes.l8 + excluded.l8,
  l9 = account_minutes.l9 + excluded.l9, l10 = account_minutes.l10 + excluded.l10

-- name: health
-- JSON by another function.
SELECT h.webhook_id, h.failing_since, h.consecutive_failures, h.last_success_at, h.last_failure_at, h.last_result, h.succeeded, h.failed
FROM json_array_elements_text(:webhook_ids::json) AS w (id)
JOIN webhook_health h ON h.account_id = :account_id AND h.webhook_id = w.id

-- piece: sums
-- The same words as in the portable file.
CAST(sum(succeeded) AS BIGINT), CAST(sum(failed) AS BIGINT), CAST(sum(retries) AS BIGINT), CAST(sum(latency_ms) AS BIGINT),
  CAST(sum(l0) AS BIGINT), CAST(sum(l1) AS BIGINT), CAST(sum(l2) AS BIGINT), CAST(sum(l3) AS BIGINT), CAST(sum(l4) AS BIGINT),
  CAST(sum(l5) AS BIGINT), CAST(sum(l6) AS BIGINT), CAST(sum(l7) AS BIGINT), CAST(sum(l8) AS BIGINT), CAST(sum(l9) AS BIGINT),
  CAST(sum(l10) AS BIGINT)

-- name: windows
-- As `held`.
SELECT w.id, m.* FROM json_array_elements_text(:webhook_ids::json) AS w (id), LATERAL (
  SELECT {sums}
  FROM webhook_minutes WHERE account_id = :account_id AND webhook_id = w.id AND minute_at >= :since HAVING count(*) > 0) AS m

-- name: hours
-- As `held`.
SELECT w.id, m.* FROM (SELECT :since::bigint AS since) AS p, json_array_elements_text(:webhook_ids::json) AS w (id), LATERAL (
  SELECT (minute_at - p.since) / 3600000, CAST(sum(succeeded) AS BIGINT), CAST(sum(failed) AS BIGINT)
  FROM webhook_minutes WHERE account_id = :account_id AND webhook_id = w.id AND minute_at >= p.since GROUP BY 1) AS m
ORDER BY 1, 2

-- name: database_now
-- The only clock that all processes share; not now(), which stands still during a transaction.
SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint

-- piece: in_ids
-- An array, so that the plan is a probe for each of them.
= ANY (ARRAY(SELECT json_array_elements_text(:ids::json)::bigint))

-- name: redeliverable
-- A claim or an outcome that is being written is waited for: what we read stands until our commit.
SELECT event_seq, state, lease IS NOT NULL, due_at, expires_at FROM deliveries
WHERE id = :id AND account_id = :account_id AND webhook_id = :webhook_id
FOR UPDATE

-- name: lock_events
-- In the order of their numbers, so that two who lock several do not deadlock.
SELECT seq, length(payload) FROM events WHERE seq {in_ids} ORDER BY seq FOR UPDATE

-- name: recovery_to_step
-- Another process that takes a step of it is waited for, and then found to have taken it.
SELECT after_at, after_id FROM recoveries
WHERE account_id = :account_id AND webhook_id = :webhook_id AND id = :id AND state = 'running' AND next_step_at <= :now
FOR UPDATE

-- name: deliver_again
-- One round trip for a batch.
INSERT INTO deliveries (id, account_id, webhook_id, event_seq, state, due_at, attempts, expires_at, created_at, origin, recovery_id)
SELECT s.id, s.account_id, s.webhook_id, s.event_seq, 'queued', s.due_at, 0, s.expires_at, s.created_at, s.origin, s.recovery_id
FROM unnest(:id::bigint[], :account_id::text[], :webhook_id::text[], :event_seq::bigint[], :due_at::bigint[], :expires_at::bigint[],
  :created_at::bigint[], :origin::text[], :recovery_id::text[])
  AS s (id, account_id, webhook_id, event_seq, due_at, expires_at, created_at, origin, recovery_id)

-- piece: of_webhooks
-- An array, so that the plan is a probe for each of them.
webhook_id = ANY (ARRAY(SELECT json_array_elements_text(:webhook_ids::json)))

-- name: accept_certificate
-- One round trip for a batch.
UPDATE webhook_certificates c SET accepted_at = s.accepted_at
FROM unnest(:accepted_at::bigint[], :account_id::text[], :webhook_id::text[], :id::text[]) AS s (accepted_at, account_id, webhook_id, id)
WHERE c.account_id = s.account_id AND c.webhook_id = s.webhook_id AND c.id = s.id AND c.accepted_at IS NULL

-- piece: webhooks_among
-- One by one: without the LIMIT the planner walks all of the account's.
json_array_elements_text(:webhook_ids::json) AS wanted (webhook_id), LATERAL (
  SELECT * FROM webhooks WHERE account_id = :account_id AND id = wanted.webhook_id AND deleted_at IS NULL LIMIT 1) AS w
