-- Every statement of the store that both databases understand. Statements that are used for many rows at once take them in the
-- order of their parameters' first appearance; on SQLite their list of VALUES is repeated, so that a batch is one step of one statement.

-- ============ the road ============

-- name: alloc
-- Take a block of ids: inserts then append and need not ask which id they got.
UPDATE counters SET next = next + :size WHERE name = :name RETURNING next - :size

-- name: fan_out
-- Who wants this type, and all that an attempt at them needs. The newest credential is the one in use.
SELECT w.id, w.url, w.url_version, w.auth_method, w.verified_at IS NOT NULL AND w.paused_at IS NULL, c.id, c.sealed
FROM subscriptions s
JOIN webhooks w ON w.account_id = s.account_id AND w.id = s.webhook_id AND w.deleted_at IS NULL
LEFT JOIN webhook_credentials c ON c.account_id = w.account_id AND c.webhook_id = w.id
WHERE s.account_id = :account_id AND s.event_type = :event_type
ORDER BY w.id, c.created_at DESC, c.id DESC

-- name: insert_event
-- "Producers MUST ensure that source + id is unique for each distinct event" (CloudEvents 1.0, id): a taken id inserts nothing.
INSERT INTO events (seq, account_id, id, type, time_at, accepted_at, expires_at, deliveries, fingerprint, batch, payload)
VALUES (:seq, :account_id, :id, :type, :time_at, :accepted_at, :expires_at, :deliveries, :fingerprint, :batch, :payload)
ON CONFLICT (account_id, id) DO NOTHING

-- name: known_event
-- What was kept under this id, to answer a repeat like the first time.
SELECT seq, fingerprint, deliveries FROM events WHERE account_id = :account_id AND id = :id

-- name: insert_delivery
-- One event owed to one webhook; born leased, queued or held.
INSERT INTO deliveries (id, account_id, webhook_id, event_seq, state, due_at, lease, lease_started_at, attempts, expires_at, created_at)
VALUES (:id, :account_id, :webhook_id, :event_seq, :state, :due_at, :lease, :lease_started_at, :attempts, :expires_at, :created_at)

-- name: settle
-- Only the holder of the lease may finish a delivery; a late worker changes no row.
WITH s (state, failure_reason, due_at, attempts, id, lease) AS (VALUES (:state, :failure_reason, :due_at, :attempts, :id, :lease))
UPDATE deliveries SET state = s.state, failure_reason = s.failure_reason, due_at = s.due_at, attempts = s.attempts, lease = NULL,
  lease_started_at = NULL
FROM s WHERE deliveries.id = s.id AND deliveries.lease = s.lease

-- name: still_leased
-- Which of these leases are still theirs: asked before `settle` where a statement cannot tell cheaply which rows it changed.
WITH s (id, lease) AS (VALUES (:id, :lease))
SELECT json_group_array(s.id) FROM s JOIN deliveries d ON d.id = s.id AND d.lease = s.lease

-- name: insert_attempt
-- The log: one row per request.
INSERT INTO attempts (id, account_id, webhook_id, kind, delivery_id, event_id, event_type, number, started_at, status, reason, phase, detail,
  dns_us, connect_us, tls_us, first_byte_us, total_us, remote_address, tls_version, reconnects, truncated, body_error, url, credential_id,
  next_attempt_at, echo, headers, body)
VALUES (:id, :account_id, :webhook_id, :kind, :delivery_id, :event_id, :event_type, :number, :started_at, :status, :reason, :phase, :detail,
  :dns_us, :connect_us, :tls_us, :first_byte_us, :total_us, :remote_address, :tls_version, :reconnects, :truncated, :body_error, :url, :credential_id,
  :next_attempt_at, :echo, :headers, :body)

-- name: webhook_for_work
-- What decides about a webhook's deliveries now, deleted ones included.
SELECT w.url, w.url_version, w.url_changed_at, w.auth_method, w.deleted_at IS NOT NULL, w.verified_at IS NOT NULL AND w.paused_at IS NULL,
  c.id, c.sealed, c.created_at
FROM webhooks w LEFT JOIN webhook_credentials c ON c.account_id = w.account_id AND c.webhook_id = w.id
WHERE w.account_id = :account_id AND w.id = :webhook_id
ORDER BY c.created_at DESC, c.id DESC
LIMIT 1

-- name: due
-- The due rows of one lane, oldest first, in one row: every row that SQLite hands over costs a turn at Python's lock.
-- Small columns as JSON; the payloads joined, to be cut apart by their lengths: as hex in the JSON a row cost 18 us, so 6.
-- One writer at a time, so SQLite needs no SKIP LOCKED here.
SELECT json_group_array(json_array(id, hex(lease), lease_started_at, attempts, expires_at, event_id, type, time_at, length(payload))),
  CAST(group_concat(payload, '') AS BLOB)
FROM (
  SELECT d.id, d.lease, d.lease_started_at, d.attempts, d.expires_at, e.id AS event_id, e.type, e.time_at, e.payload
  FROM deliveries d JOIN events e ON e.account_id = d.account_id AND e.seq = d.event_seq
  WHERE d.account_id = :account_id AND d.webhook_id = :webhook_id AND d.due_at IS NOT NULL AND d.due_at <= :now
  ORDER BY d.due_at
  LIMIT :limit) AS first

-- name: lease
-- A claim is a started attempt: number and lease in one commit.
WITH s (due_at, lease, lease_started_at, attempts, id) AS (VALUES (:due_at, :lease, :lease_started_at, :attempts, :id))
UPDATE deliveries SET due_at = s.due_at, lease = s.lease, lease_started_at = s.lease_started_at, attempts = s.attempts
FROM s WHERE deliveries.id = s.id

-- name: set_aside
-- A due row that may not be sent: failed or held.
WITH s (state, failure_reason, id) AS (VALUES (:state, :failure_reason, :id))
UPDATE deliveries SET state = s.state, failure_reason = s.failure_reason, due_at = NULL, lease = NULL, lease_started_at = NULL
FROM s WHERE deliveries.id = s.id

-- name: release
-- Back to due with its number, if still ours.
WITH s (due_at, id, lease) AS (VALUES (:due_at, :id, :lease))
UPDATE deliveries SET due_at = s.due_at, attempts = attempts - 1, lease = NULL, lease_started_at = NULL
FROM s WHERE deliveries.id = s.id AND deliveries.lease = s.lease

-- name: reclaim
-- Leases that nobody holds any more are over now. Only for a process that knows that it is alone.
UPDATE deliveries SET due_at = :now WHERE due_at > :now AND lease IS NOT NULL

-- name: next_due
-- When a lane next has work: one probe.
SELECT due_at FROM deliveries
WHERE account_id = :account_id AND webhook_id = :webhook_id AND due_at IS NOT NULL
ORDER BY due_at LIMIT 1

-- name: lanes
-- Loose index scan: each step jumps to the first row of the next lane, so a lane's million rows cost one probe. The jump is
-- written as "same account, next webhook, else next account": SQLite would enter the index for (a, b) > (x, y) at a alone.
WITH RECURSIVE lane (account_id, webhook_id, due_at) AS (
  SELECT account_id, webhook_id, due_at FROM deliveries WHERE id = coalesce(
    (SELECT id FROM deliveries WHERE due_at IS NOT NULL AND account_id = :account_id AND webhook_id > :webhook_id
     ORDER BY webhook_id, due_at LIMIT 1),
    (SELECT id FROM deliveries WHERE due_at IS NOT NULL AND account_id > :account_id
     ORDER BY account_id, webhook_id, due_at LIMIT 1))
  UNION ALL
  SELECT d.account_id, d.webhook_id, d.due_at FROM lane JOIN deliveries d ON d.id = coalesce(
    (SELECT n.id FROM deliveries n WHERE n.due_at IS NOT NULL AND n.account_id = lane.account_id AND n.webhook_id > lane.webhook_id
     ORDER BY n.webhook_id, n.due_at LIMIT 1),
    (SELECT n.id FROM deliveries n WHERE n.due_at IS NOT NULL AND n.account_id > lane.account_id
     ORDER BY n.account_id, n.webhook_id, n.due_at LIMIT 1))
)
SELECT account_id, webhook_id, due_at FROM lane LIMIT :limit

-- ============ held rows ============

-- name: held_lanes
-- Webhooks with held rows that may now be sent, or never will: the same loose scan, over held rows.
WITH RECURSIVE lane (account_id, webhook_id) AS (
  SELECT account_id, webhook_id FROM deliveries WHERE id = (
    SELECT id FROM deliveries WHERE state = 'held' ORDER BY account_id, webhook_id, expires_at LIMIT 1)
  UNION ALL
  SELECT d.account_id, d.webhook_id FROM lane JOIN deliveries d ON d.id = coalesce(
    (SELECT n.id FROM deliveries n WHERE n.state = 'held' AND n.account_id = lane.account_id AND n.webhook_id > lane.webhook_id
     ORDER BY n.webhook_id, n.expires_at LIMIT 1),
    (SELECT n.id FROM deliveries n WHERE n.state = 'held' AND n.account_id > lane.account_id
     ORDER BY n.account_id, n.webhook_id, n.expires_at LIMIT 1))
)
SELECT account_id, webhook_id, fate FROM (
  SELECT account_id, webhook_id, (
    SELECT CASE WHEN w.deleted_at IS NOT NULL THEN 'deleted' WHEN w.verified_at IS NOT NULL AND w.paused_at IS NULL THEN 'sendable' END
    FROM webhooks w WHERE w.account_id = lane.account_id AND w.id = lane.webhook_id) AS fate
  FROM lane) AS judged
WHERE fate IS NOT NULL

-- name: release_held
-- The webhook is verified: what was held for it is due.
UPDATE deliveries SET state = 'queued', due_at = :now
WHERE id IN (
  SELECT id FROM deliveries WHERE account_id = :account_id AND webhook_id = :webhook_id AND state = 'held'
  ORDER BY expires_at LIMIT :limit)

-- name: fail_held
-- The webhook is gone: nobody will ever want these.
UPDATE deliveries SET state = 'failed', failure_reason = 'webhook_deleted'
WHERE id IN (
  SELECT id FROM deliveries WHERE account_id = :account_id AND webhook_id = :webhook_id AND state = 'held'
  ORDER BY expires_at LIMIT :limit)

-- name: expire_held
-- Held for longer than the event may wait.
UPDATE deliveries SET state = 'failed', failure_reason = 'expired'
WHERE id IN (SELECT id FROM deliveries WHERE state = 'held' AND expires_at <= :now ORDER BY expires_at LIMIT :limit)

-- name: fail_queued
-- Cancel what is queued and not in flight; a leased row ends with its attempt, so that the log never misses a request.
UPDATE deliveries SET state = 'failed', failure_reason = 'webhook_deleted', due_at = NULL
WHERE id IN (
  SELECT id FROM deliveries WHERE account_id = :account_id AND webhook_id = :webhook_id AND due_at IS NOT NULL AND lease IS NULL
  ORDER BY due_at LIMIT :limit)

-- name: hold_queued
-- Hold what is queued and not in flight, for the same reason.
UPDATE deliveries SET state = 'held', due_at = NULL
WHERE id IN (
  SELECT id FROM deliveries WHERE account_id = :account_id AND webhook_id = :webhook_id AND due_at IS NOT NULL AND lease IS NULL
  ORDER BY due_at LIMIT :limit)

-- name: count_held
-- What waits for verification.
SELECT count(*), min(expires_at) FROM deliveries WHERE account_id = :account_id AND webhook_id = :webhook_id AND state = 'held'

-- name: count_queued
-- What waits to be sent, or is being sent.
SELECT count(*), min(expires_at) FROM deliveries WHERE account_id = :account_id AND webhook_id = :webhook_id AND due_at IS NOT NULL

-- ============ webhooks ============

-- name: add_webhook
-- A new webhook.
INSERT INTO webhooks (account_id, id, name, url, url_version, auth_method, subscribed_events, created_at, verified_at, paused_at, challenge_id)
VALUES (:account_id, :id, :name, :url, :url_version, :auth_method, :subscribed_events, :created_at, :verified_at, :paused_at, :challenge_id)
ON CONFLICT DO NOTHING

-- name: add_credential
-- The key that its deliveries carry.
INSERT INTO webhook_credentials (account_id, webhook_id, id, sealed, created_at) VALUES (:account_id, :webhook_id, :id, :sealed, :created_at)

-- name: subscribe
-- One row per subscribed type.
INSERT INTO subscriptions (account_id, event_type, webhook_id) VALUES (:account_id, :event_type, :webhook_id) ON CONFLICT DO NOTHING

-- name: unsubscribe
-- A deleted webhook wants nothing.
DELETE FROM subscriptions WHERE account_id = :account_id AND event_type = :event_type AND webhook_id = :webhook_id

-- name: webhook
-- One account's webhook, unless deleted.
SELECT account_id, id, name, url, url_version, auth_method, subscribed_events, created_at, verified_at, paused_at, challenge_id
FROM webhooks WHERE account_id = :account_id AND id = :webhook_id AND deleted_at IS NULL

-- name: webhook_page
-- Newest first.
SELECT account_id, id, name, url, url_version, auth_method, subscribed_events, created_at, verified_at, paused_at, challenge_id
FROM webhooks WHERE account_id = :account_id AND deleted_at IS NULL
ORDER BY created_at DESC, id DESC LIMIT :limit OFFSET :offset

-- name: webhook_total
-- How many there are in all.
SELECT count(*) FROM webhooks WHERE account_id = :account_id AND deleted_at IS NULL

-- name: delete_webhook
-- Kept as a row, for the log and for deliveries in flight.
UPDATE webhooks SET deleted_at = :now, challenge_id = NULL WHERE account_id = :account_id AND id = :webhook_id AND deleted_at IS NULL

-- name: forget_credentials
-- A deleted webhook's keys are of no more use.
DELETE FROM webhook_credentials WHERE account_id = :account_id AND webhook_id = :webhook_id

-- name: change_url
-- What was proven was the old URL: verification and outstanding challenge fall with it, and a new handshake is owed.
UPDATE webhooks SET url = :url, url_version = url_version + 1, url_changed_at = :now, verified_at = NULL, challenge_id = 'owed'
WHERE account_id = :account_id AND id = :webhook_id AND deleted_at IS NULL

-- name: issue_challenge
-- The newest challenge is the only valid one.
UPDATE webhooks SET challenge_id = :challenge_id WHERE account_id = :account_id AND id = :webhook_id AND deleted_at IS NULL

-- name: verify
-- Only the current challenge, for the current URL, proves anything; it is used up by it.
UPDATE webhooks SET verified_at = :now, challenge_id = NULL
WHERE account_id = :account_id AND id = :webhook_id AND challenge_id = :challenge_id AND url_version = :url_version AND deleted_at IS NULL

-- name: end_challenge
-- A handshake that did not prove anything is over: nothing is owed until one asks again.
UPDATE webhooks SET challenge_id = NULL WHERE account_id = :account_id AND id = :webhook_id AND challenge_id = :challenge_id

-- name: unproven
-- Handshakes that were owed when their process died.
SELECT account_id, id FROM webhooks WHERE challenge_id IS NOT NULL AND verified_at IS NULL AND deleted_at IS NULL
ORDER BY account_id, id LIMIT :limit

-- ============ the log ============

-- name: attempts_of_webhook_before
-- A page of one webhook's log, newest first.
SELECT id, account_id, webhook_id, kind, delivery_id, event_id, event_type, number, started_at, status, reason, phase, detail,
  dns_us, connect_us, tls_us, first_byte_us, total_us, remote_address, tls_version, reconnects, truncated, body_error, url, credential_id,
  next_attempt_at, echo, headers, body
FROM attempts WHERE account_id = :account_id AND webhook_id = :webhook_id AND (started_at, id) < (:started_at, :id)
ORDER BY started_at DESC, id DESC LIMIT :limit

-- name: attempts_of_webhook_after
-- What came since, oldest first.
SELECT id, account_id, webhook_id, kind, delivery_id, event_id, event_type, number, started_at, status, reason, phase, detail,
  dns_us, connect_us, tls_us, first_byte_us, total_us, remote_address, tls_version, reconnects, truncated, body_error, url, credential_id,
  next_attempt_at, echo, headers, body
FROM attempts WHERE account_id = :account_id AND webhook_id = :webhook_id AND (started_at, id) > (:started_at, :id)
ORDER BY started_at, id LIMIT :limit

-- name: attempts_of_account_before
-- A page of the whole account's log, newest first.
SELECT id, account_id, webhook_id, kind, delivery_id, event_id, event_type, number, started_at, status, reason, phase, detail,
  dns_us, connect_us, tls_us, first_byte_us, total_us, remote_address, tls_version, reconnects, truncated, body_error, url, credential_id,
  next_attempt_at, echo, headers, body
FROM attempts WHERE account_id = :account_id AND (started_at, id) < (:started_at, :id)
ORDER BY started_at DESC, id DESC LIMIT :limit

-- name: attempts_of_account_after
-- What came since, oldest first.
SELECT id, account_id, webhook_id, kind, delivery_id, event_id, event_type, number, started_at, status, reason, phase, detail,
  dns_us, connect_us, tls_us, first_byte_us, total_us, remote_address, tls_version, reconnects, truncated, body_error, url, credential_id,
  next_attempt_at, echo, headers, body
FROM attempts WHERE account_id = :account_id AND (started_at, id) > (:started_at, :id)
ORDER BY started_at, id LIMIT :limit

-- ============ accounts and keys ============

-- name: add_account
-- A new account.
INSERT INTO accounts (id, name, enterprise, created_at) VALUES (:id, :name, :enterprise, :created_at) ON CONFLICT DO NOTHING

-- name: account
-- One account.
SELECT id, name, enterprise, created_at FROM accounts WHERE id = :account_id

-- name: accounts
-- All, oldest first.
SELECT id, name, enterprise, created_at FROM accounts ORDER BY created_at, id

-- name: set_enterprise
-- Webhooks are an enterprise feature.
UPDATE accounts SET enterprise = :enterprise WHERE id = :account_id

-- name: lock_account
-- Two processes that add or revoke secrets of one account wait for each other here: the limits below are counted, not constrained.
UPDATE accounts SET name = name WHERE id = :account_id

-- name: add_secret
-- One more API secret.
INSERT INTO account_secrets (account_id, id, sealed, created_at) VALUES (:account_id, :id, :sealed, :created_at) ON CONFLICT DO NOTHING

-- name: secrets
-- Live ones, oldest first.
SELECT account_id, id, sealed, created_at FROM account_secrets WHERE account_id = :account_id AND revoked_at IS NULL ORDER BY created_at, id

-- name: revoke_secret
-- It authenticates nothing from now on; the ciphertext goes too.
UPDATE account_secrets SET revoked_at = :now, sealed = :nothing WHERE account_id = :account_id AND id = :id AND revoked_at IS NULL

-- name: add_publisher_key
-- Only the digest of the key is kept.
INSERT INTO publisher_keys (id, account_id, name, digest, created_at) VALUES (:id, :account_id, :name, :digest, :created_at) ON CONFLICT DO NOTHING

-- name: publisher_keys
-- Live ones, oldest first.
SELECT id, name, account_id, created_at FROM publisher_keys WHERE revoked_at IS NULL ORDER BY created_at, id

-- name: publisher_key
-- Who is publishing.
SELECT id, name, account_id, created_at FROM publisher_keys WHERE digest = :digest AND revoked_at IS NULL

-- name: revoke_publisher_key
-- It publishes nothing from now on.
UPDATE publisher_keys SET revoked_at = :now WHERE id = :id AND revoked_at IS NULL

-- ============ sealed values ============

-- name: sealed_secrets
-- Every live account secret.
SELECT account_id, id, sealed FROM account_secrets WHERE revoked_at IS NULL ORDER BY account_id, id

-- name: sealed_credentials
-- Every credential in use.
SELECT account_id, webhook_id, id, sealed FROM webhook_credentials ORDER BY account_id, webhook_id, id

-- name: reseal_secret
-- The same secret under another master key, unless it changed meanwhile.
UPDATE account_secrets SET sealed = :sealed WHERE account_id = :account_id AND id = :id AND sealed = :old

-- name: reseal_credential
-- Likewise.
UPDATE webhook_credentials SET sealed = :sealed WHERE account_id = :account_id AND webhook_id = :webhook_id AND id = :id AND sealed = :old

-- name: meta
-- A value of the installation itself, such as the vault's canary.
SELECT value FROM meta WHERE key = :key

-- name: set_meta_once
-- Whoever comes first sets it.
INSERT INTO meta (key, value) VALUES (:key, :value) ON CONFLICT DO NOTHING

-- name: probe
-- Can we write? Asked while the database was found gone or full.
INSERT INTO meta (key, value) VALUES ('probe', :value) ON CONFLICT (key) DO UPDATE SET value = excluded.value
