-- Every statement of the store that both databases understand. Statements that are used for many rows at once take them in the
-- order of their parameters' first appearance; on SQLite their list of VALUES is repeated, so that a batch is one step of one statement.

-- ============ the road ============

-- name: alloc
-- Take a block of ids: inserts then append and need not ask which id they got.
UPDATE counters SET next = next + :size WHERE name = :name RETURNING next - :size

-- name: counters_behind
-- What a restore of some tables leaves: rows with ids that their counter would give out again. (kind, next, last id of its table).
SELECT t.kind, coalesce(c.next, 1), t.last
FROM (
  SELECT 'events' AS kind, coalesce(max(seq), 0) AS last FROM events
  UNION ALL SELECT 'deliveries', coalesce(max(id), 0) FROM deliveries
  UNION ALL SELECT 'attempts', coalesce(max(id), 0) FROM attempts) AS t
LEFT JOIN counters c ON c.name = t.kind
WHERE c.next IS NULL OR c.next <= t.last

-- name: skip_ids
-- Forward only, from wherever the counter is by then: two processes that both found it behind skip more than is needed, never back.
INSERT INTO counters (name, next) VALUES (:name, 1 + :size) ON CONFLICT (name) DO UPDATE SET next = next + :size

-- name: fan_out
-- Who wants this type, and all that an attempt at them needs. The first row of each carries the credential in use: the one whose time
-- came last. Should our clock have stepped back before all of them, the next to come: a webhook is never without. The row after it, if it
-- will retire, is fallen back on.
SELECT w.id, w.url, w.url_version, w.auth_method, w.verified_at IS NOT NULL AND w.paused_at IS NULL, w.max_in_flight, w.rate_per_second,
  w.extras, c.id, c.sealed, c.retires_at
FROM subscriptions s
JOIN webhooks w ON w.account_id = s.account_id AND w.id = s.webhook_id AND w.deleted_at IS NULL
LEFT JOIN webhook_credentials c ON c.account_id = w.account_id AND c.webhook_id = w.id AND c.auth_method = w.auth_method
  AND (c.retires_at IS NULL OR c.retires_at > :now)
WHERE s.account_id = :account_id AND s.event_type = :event_type
ORDER BY w.id, c.activates_at > :now, abs(c.activates_at - :now), c.created_at DESC, c.id DESC

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
WITH s (state, failure_reason, due_at, attempts, id, lease, last_result) AS (
  VALUES (:state, :failure_reason, :due_at, :attempts, :id, :lease, :last_result))
UPDATE deliveries SET state = s.state, failure_reason = s.failure_reason, due_at = s.due_at, attempts = s.attempts, lease = NULL,
  lease_started_at = NULL, last_result = s.last_result
FROM s WHERE deliveries.id = s.id AND deliveries.lease = s.lease

-- name: still_leased
-- Which of these leases are still theirs: asked before `settle` where a statement cannot tell cheaply which rows it changed.
WITH s (id, lease) AS (VALUES (:id, :lease))
SELECT json_group_array(s.id) FROM s JOIN deliveries d ON d.id = s.id AND d.lease = s.lease

-- name: insert_attempt
-- The log: one row per request.
INSERT INTO attempts (id, account_id, webhook_id, kind, delivery_id, event_id, event_type, number, started_at, status, reason, phase, detail,
  dns_us, connect_us, tls_us, first_byte_us, total_us, remote_address, tls_version, reconnects, truncated, body_error, url, credential_id,
  next_attempt_at, echo, note, headers, body)
VALUES (:id, :account_id, :webhook_id, :kind, :delivery_id, :event_id, :event_type, :number, :started_at, :status, :reason, :phase, :detail,
  :dns_us, :connect_us, :tls_us, :first_byte_us, :total_us, :remote_address, :tls_version, :reconnects, :truncated, :body_error, :url, :credential_id,
  :next_attempt_at, :echo, :note, :headers, :body)

-- name: webhook_for_work
-- What decides about a webhook's deliveries now, deleted ones included, and the credentials in use: see `fan_out`.
SELECT w.url, w.url_version, w.url_changed_at, w.auth_method, w.deleted_at IS NOT NULL, w.verified_at IS NOT NULL AND w.paused_at IS NULL,
  w.max_in_flight, w.rate_per_second, w.extras, c.id, c.sealed, c.activates_at, c.retires_at
FROM webhooks w
LEFT JOIN webhook_credentials c ON c.account_id = w.account_id AND c.webhook_id = w.id AND c.auth_method = w.auth_method
  AND (c.retires_at IS NULL OR c.retires_at > :now)
WHERE w.account_id = :account_id AND w.id = :webhook_id
ORDER BY c.activates_at > :now, abs(c.activates_at - :now), c.created_at DESC, c.id DESC
LIMIT 2

-- name: webhook_fate
-- May a failed attempt be followed by another? One probe.
SELECT deleted_at IS NOT NULL, verified_at IS NOT NULL AND paused_at IS NULL FROM webhooks
WHERE account_id = :account_id AND id = :webhook_id

-- name: due
-- The due rows of one lane, oldest first (of those due at the same instant, such as a released crowd, the oldest event), in one row:
-- every row that SQLite hands over costs a turn at Python's lock.
-- Small columns as JSON; the payloads joined, to be cut apart by their lengths: as hex in the JSON a row cost 18 us, so 6.
-- One writer at a time, so SQLite needs no SKIP LOCKED here.
SELECT json_group_array(json_array(id, hex(lease), lease_started_at, attempts, expires_at, event_id, type, time_at, length(payload))),
  CAST(group_concat(payload, '') AS BLOB)
FROM (
  SELECT d.id, d.lease, d.lease_started_at, d.attempts, d.expires_at, e.id AS event_id, e.type, e.time_at, e.payload
  FROM deliveries d JOIN events e ON e.account_id = d.account_id AND e.seq = d.event_seq
  WHERE d.account_id = :account_id AND d.webhook_id = :webhook_id AND d.due_at IS NOT NULL AND d.due_at <= :now
  ORDER BY d.due_at, d.expires_at
  LIMIT :limit) AS first

-- name: lease
-- A claim is a started attempt: number and lease in one commit.
WITH s (due_at, lease, lease_started_at, attempts, id, lost) AS (VALUES (:due_at, :lease, :lease_started_at, :attempts, :id, :lost))
UPDATE deliveries SET due_at = s.due_at, lease = s.lease, lease_started_at = s.lease_started_at, attempts = s.attempts,
  last_result = coalesce(s.lost, deliveries.last_result)
FROM s WHERE deliveries.id = s.id

-- name: set_aside
-- A due row that may not be sent: failed or held.
WITH s (state, failure_reason, id, lost) AS (VALUES (:state, :failure_reason, :id, :lost))
UPDATE deliveries SET state = s.state, failure_reason = s.failure_reason, due_at = NULL, lease = NULL, lease_started_at = NULL,
  last_result = coalesce(s.lost, deliveries.last_result)
FROM s WHERE deliveries.id = s.id

-- name: fail_expired
-- Of the first so many due rows of a lane, those whose window has ended: a claim that met nothing else would meet them one by one.
UPDATE deliveries SET state = 'failed', failure_reason = 'expired', due_at = NULL
WHERE id IN (SELECT id FROM (
  SELECT id, lease, expires_at FROM deliveries
  WHERE account_id = :account_id AND webhook_id = :webhook_id AND due_at IS NOT NULL AND due_at <= :now
  ORDER BY due_at, expires_at LIMIT :limit) AS first
WHERE lease IS NULL AND expires_at <= :now)

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
-- What waits for verification, or for an end of the pause; no further than so many, those that expire first.
SELECT count(*), min(expires_at) FROM (SELECT expires_at FROM deliveries
  WHERE account_id = :account_id AND webhook_id = :webhook_id AND state = 'held' ORDER BY expires_at LIMIT :most) AS first

-- name: held
-- The same for several webhooks, named in a JSON array.
WITH wanted (id) AS (SELECT value FROM json_each(:webhook_ids))
SELECT id, (
  SELECT count(*) FROM (SELECT 1 FROM deliveries
    WHERE account_id = :account_id AND webhook_id = wanted.id AND state = 'held' LIMIT :most) AS first), (
  SELECT min(expires_at) FROM deliveries WHERE account_id = :account_id AND webhook_id = wanted.id AND state = 'held')
FROM wanted

-- name: count_queued
-- What waits to be sent, or is being sent; no further than so many, those that are due first.
SELECT count(*), min(expires_at) FROM (SELECT expires_at FROM deliveries
  WHERE account_id = :account_id AND webhook_id = :webhook_id AND due_at IS NOT NULL ORDER BY due_at LIMIT :most) AS first

-- ============ webhooks ============

-- name: add_webhook
-- A new webhook.
INSERT INTO webhooks (account_id, id, name, url, url_version, auth_method, subscribed_events, created_at, verified_at, paused_at,
  challenge_id, revision, max_in_flight, rate_per_second, extras)
VALUES (:account_id, :id, :name, :url, :url_version, :auth_method, :subscribed_events, :created_at, :verified_at, :paused_at,
  :challenge_id, :revision, :max_in_flight, :rate_per_second, :extras)
ON CONFLICT DO NOTHING

-- piece: for_update
-- One writer at a time: on SQLite nobody can come between.

-- name: webhook_for_edit
-- As `webhook`, to be changed in this transaction.
SELECT {webhook_columns}
FROM webhooks WHERE account_id = :account_id AND id = :webhook_id AND deleted_at IS NULL {for_update}

-- name: switch_auth
-- Another way of proving who calls.
UPDATE webhooks SET auth_method = :auth_method, revision = revision + 1 WHERE account_id = :account_id AND id = :webhook_id

-- name: edit_webhook
-- All but the URL, which has consequences.
UPDATE webhooks SET name = :name, subscribed_events = :subscribed_events, max_in_flight = :max_in_flight,
  rate_per_second = :rate_per_second, extras = :extras, revision = revision + 1
WHERE account_id = :account_id AND id = :webhook_id

-- name: pause
-- What is queued and what will be published is held from now on.
UPDATE webhooks SET paused_at = :now, revision = revision + 1
WHERE account_id = :account_id AND id = :webhook_id AND paused_at IS NULL AND deleted_at IS NULL

-- name: resume
-- What is held may go, if the webhook is verified.
UPDATE webhooks SET paused_at = NULL, revision = revision + 1
WHERE account_id = :account_id AND id = :webhook_id AND paused_at IS NOT NULL AND deleted_at IS NULL

-- name: subscribe
-- One row per subscribed type.
INSERT INTO subscriptions (account_id, event_type, webhook_id) VALUES (:account_id, :event_type, :webhook_id) ON CONFLICT DO NOTHING

-- name: unsubscribe
-- A type that is wanted no longer.
DELETE FROM subscriptions WHERE account_id = :account_id AND event_type = :event_type AND webhook_id = :webhook_id

-- piece: webhook_columns
-- In the order of `webhook_from`.
account_id, id, name, url, url_version, auth_method, subscribed_events, created_at, verified_at, paused_at, revision, max_in_flight,
  rate_per_second, extras

-- name: webhook
-- One account's webhook, unless deleted.
SELECT {webhook_columns}
FROM webhooks WHERE account_id = :account_id AND id = :webhook_id AND deleted_at IS NULL

-- piece: webhook_matches
-- The rest of a filter; NULL: any. An account has a thousand webhooks at most: they are looked at one by one. The
-- text comes in small letters: PostgreSQL would make those of É too, but not of a column that sorts by bytes. url_text is the
-- same, or NULL for who may not know all of a URL.
(lower(name) LIKE :text ESCAPE '!' OR lower(url) LIKE :url_text ESCAPE '!' OR :text IS NULL)
  AND (auth_method = :auth_method OR :auth_method IS NULL)
  AND (CASE WHEN paused_at IS NOT NULL THEN 'paused' WHEN verified_at IS NULL THEN 'pending' ELSE 'verified' END = :state
    OR :state IS NULL)
  AND (CAST(:failing AS BIGINT) IS NULL OR EXISTS (
    SELECT 1 FROM webhook_health h WHERE h.account_id = webhooks.account_id AND h.webhook_id = webhooks.id
    AND h.failing_since IS NOT NULL))

-- name: webhook_page
-- Newest first.
SELECT {webhook_columns}
FROM webhooks WHERE account_id = :account_id AND deleted_at IS NULL AND {webhook_matches}
ORDER BY created_at DESC, id DESC LIMIT :limit OFFSET :offset

-- piece: webhooks_among
-- Named in a JSON array.
webhooks WHERE id IN (SELECT value FROM json_each(:webhook_ids)) AND account_id = :account_id AND deleted_at IS NULL

-- name: webhooks_by_ids
-- Several of one account's.
SELECT {webhook_columns}
FROM {webhooks_among}

-- name: webhook_total
-- How many there are in all.
SELECT count(*) FROM webhooks WHERE account_id = :account_id AND deleted_at IS NULL

-- name: webhooks_matching
-- How many match in all.
SELECT count(*) FROM webhooks WHERE account_id = :account_id AND deleted_at IS NULL AND {webhook_matches}

-- name: is_proving
-- Whether a handshake runs, or is owed.
SELECT challenge_id IS NOT NULL FROM webhooks
WHERE account_id = :account_id AND id = :webhook_id AND verified_at IS NULL AND deleted_at IS NULL

-- name: delete_webhook
-- Kept as a row, for the log and for deliveries in flight.
UPDATE webhooks SET deleted_at = :now, challenge_id = NULL, extras = NULL WHERE account_id = :account_id AND id = :webhook_id AND deleted_at IS NULL

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

-- ============ credentials of both kinds ============

-- name: add_credential
-- Another key or certificate that its requests carry from `activates_at` on.
INSERT INTO webhook_credentials (account_id, webhook_id, id, auth_method, sealed, created_at, activates_at)
VALUES (:account_id, :webhook_id, :id, :auth_method, :sealed, :created_at, :activates_at)
ON CONFLICT DO NOTHING

-- name: work
-- A webhook, and the credentials in use by the same rule as `fan_out`.
SELECT w.*, c.id, c.sealed, c.retires_at
FROM (SELECT {webhook_columns} FROM webhooks WHERE account_id = :account_id AND id = :webhook_id AND deleted_at IS NULL) AS w
LEFT JOIN webhook_credentials c ON c.account_id = w.account_id AND c.webhook_id = w.id AND c.auth_method = w.auth_method
  AND (c.retires_at IS NULL OR c.retires_at > :now)
ORDER BY c.activates_at > :now, abs(c.activates_at - :now), c.created_at DESC, c.id DESC
LIMIT 2

-- name: forget_credential
-- One that was never in use, or a certificate's key that nothing needs any more.
DELETE FROM webhook_credentials WHERE account_id = :account_id AND webhook_id = :webhook_id AND id = :id

-- name: forget_credentials
-- A webhook's keys are of no more use: it was deleted, or proves itself in another way.
DELETE FROM webhook_credentials WHERE account_id = :account_id AND webhook_id = :webhook_id

-- ============ bearer keys ============

-- name: credentials
-- All that are kept, newest first.
SELECT id, created_at, activates_at FROM webhook_credentials
WHERE account_id = :account_id AND webhook_id = :webhook_id AND auth_method = 'bearer_token'
ORDER BY activates_at DESC, created_at DESC, id DESC

-- name: replace_credentials
-- Another key takes their place at a known time, and a while later no request needs them any more. Certificates are not replaced like this.
UPDATE webhook_credentials SET forget_at = :forget_at
WHERE account_id = :account_id AND webhook_id = :webhook_id AND auth_method = 'bearer_token' AND forget_at IS NULL

-- name: keep_credentials
-- The key that would have replaced them was cancelled.
UPDATE webhook_credentials SET forget_at = NULL WHERE account_id = :account_id AND webhook_id = :webhook_id AND forget_at = :forget_at

-- name: forget_replaced
-- Housekeeping: keys that were replaced a while ago.
DELETE FROM webhook_credentials WHERE forget_at <= :now

-- ============ certificates ============

-- name: lock_authorities
-- Two processes that would each make the first authority wait for each other here.
INSERT INTO meta (key, value) VALUES ('authorities', :nothing) ON CONFLICT (key) DO UPDATE SET value = excluded.value

-- name: add_authority
-- Another authority, published from now on.
INSERT INTO authorities (id, certificate, sealed, fingerprint, created_at, signs_from_at, expires_at)
VALUES (:id, :certificate, :sealed, :fingerprint, :created_at, :signs_from_at, :expires_at)
ON CONFLICT DO NOTHING

-- name: authorities
-- All that are published, newest first.
SELECT id, certificate, fingerprint, created_at, signs_from_at, expires_at FROM authorities
WHERE removed_at IS NULL AND expires_at > :now
ORDER BY signs_from_at DESC, created_at DESC, id DESC

-- name: authority_key
-- Of one that was not removed.
SELECT sealed FROM authorities WHERE id = :id AND removed_at IS NULL

-- name: authority_serves
-- Certificates that this authority issued and that are presented or fallen back on; one is enough to know. One that has expired is
-- presented to nobody, though it may stay its webhook's newest for ever.
SELECT id FROM webhook_certificates WHERE authority_id = :id AND (retires_at IS NULL OR retires_at > :now) AND expires_at > :now LIMIT 1

-- name: remove_authority
-- It is published no longer; its key goes too.
UPDATE authorities SET removed_at = :now, sealed = :nothing WHERE id = :id AND removed_at IS NULL

-- piece: certificate_columns
-- In the order of `Certificate`.
account_id, webhook_id, id, authority_id, serial, fingerprint, chain, not_before_at, expires_at, created_at, accepted_at, replaced_at,
  retires_at, noticed_days

-- name: add_certificate
-- What may be shown of a certificate, for ever.
INSERT INTO webhook_certificates (account_id, webhook_id, id, authority_id, serial, fingerprint, chain, not_before_at, expires_at, created_at)
VALUES (:account_id, :webhook_id, :id, :authority_id, :serial, :fingerprint, :chain, :not_before_at, :expires_at, :created_at)
ON CONFLICT DO NOTHING

-- name: certificates
-- The one that is presented, then the others, newest first.
SELECT {certificate_columns}
FROM webhook_certificates WHERE account_id = :account_id AND webhook_id = :webhook_id
ORDER BY replaced_at IS NULL DESC, created_at DESC, id DESC

-- piece: of_webhooks
-- Named in a JSON array.
webhook_id IN (SELECT value FROM json_each(:webhook_ids))

-- name: presented_certificates
-- Of several webhooks.
SELECT {certificate_columns}
FROM webhook_certificates WHERE {of_webhooks} AND account_id = :account_id AND replaced_at IS NULL

-- name: replace_certificate
-- Another is presented in its place; from `retires_at` on it serves for nothing.
UPDATE webhook_certificates SET replaced_at = coalesce(replaced_at, :now), retires_at = :retires_at
WHERE account_id = :account_id AND webhook_id = :webhook_id AND id = :id

-- name: retire_credential
-- Its key likewise.
UPDATE webhook_credentials SET retires_at = :retires_at WHERE account_id = :account_id AND webhook_id = :webhook_id AND id = :id

-- name: present_again
-- The one that had replaced it was cancelled.
UPDATE webhook_certificates SET replaced_at = NULL, retires_at = NULL
WHERE account_id = :account_id AND webhook_id = :webhook_id AND id = :id

-- name: replace_certificates
-- The webhook was deleted, or proves itself in another way. Those that have retired already stay as they are.
UPDATE webhook_certificates SET replaced_at = coalesce(replaced_at, :now), retires_at = :now
WHERE account_id = :account_id AND webhook_id = :webhook_id AND (retires_at IS NULL OR retires_at > :now)

-- name: accept_certificate
-- A receiver took a request with it for the first time; what names no certificate changes nothing.
WITH s (accepted_at, account_id, webhook_id, id) AS (VALUES (:accepted_at, :account_id, :webhook_id, :id))
UPDATE webhook_certificates SET accepted_at = s.accepted_at
FROM s WHERE webhook_certificates.account_id = s.account_id AND webhook_certificates.webhook_id = s.webhook_id
  AND webhook_certificates.id = s.id AND webhook_certificates.accepted_at IS NULL

-- name: retired_certificates
-- Whose keys are not even fallen back on any more.
SELECT account_id, webhook_id, id FROM webhook_credentials WHERE retires_at <= :now ORDER BY retires_at LIMIT :limit

-- name: retire_certificate
-- One by one: for a list of them PostgreSQL may read the whole table.
DELETE FROM webhook_credentials WHERE account_id = :account_id AND webhook_id = :webhook_id AND id = :id AND retires_at <= :now

-- name: note_notice
-- The last notice that was published of it. A process that is slow to say so takes nothing back.
UPDATE webhook_certificates SET noticed_days = :days WHERE account_id = :account_id AND webhook_id = :webhook_id AND id = :id
  AND (noticed_days IS NULL OR noticed_days > :days)

-- name: expiring_certificates
-- Of those that are presented, in the order in which they end. A deleted webhook presents none.
SELECT {certificate_columns}
FROM webhook_certificates
WHERE replaced_at IS NULL AND expires_at < :before AND (expires_at, id) > (:after_at, :after_id)
ORDER BY expires_at, id LIMIT :limit

-- ============ health ============

-- name: count_attempts
-- One row per webhook and group of attempts. A group with a success in it starts the row of failures anew; one without lengthens it.
INSERT INTO webhook_health (account_id, webhook_id, failing_since, consecutive_failures, last_success_at, last_failure_at, last_result,
  succeeded, failed)
VALUES (:account_id, :webhook_id, :failing_since, :consecutive_failures, :last_success_at, :last_failure_at, :last_result, :succeeded,
  :failed)
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
-- One row per webhook and minute in which attempts of the group ended.
INSERT INTO webhook_minutes (account_id, webhook_id, minute_at, succeeded, failed, retries, latency_ms,
  l0, l1, l2, l3, l4, l5, l6, l7, l8, l9, l10)
VALUES (:account_id, :webhook_id, :minute_at, :succeeded, :failed, :retries, :latency_ms,
  :l0, :l1, :l2, :l3, :l4, :l5, :l6, :l7, :l8, :l9, :l10)
ON CONFLICT (account_id, webhook_id, minute_at) DO UPDATE SET
  succeeded = webhook_minutes.succeeded + excluded.succeeded, failed = webhook_minutes.failed + excluded.failed,
  retries = webhook_minutes.retries + excluded.retries, latency_ms = webhook_minutes.latency_ms + excluded.latency_ms,
  l0 = webhook_minutes.l0 + excluded.l0, l1 = webhook_minutes.l1 + excluded.l1, l2 = webhook_minutes.l2 + excluded.l2,
  l3 = webhook_minutes.l3 + excluded.l3, l4 = webhook_minutes.l4 + excluded.l4, l5 = webhook_minutes.l5 + excluded.l5,
  l6 = webhook_minutes.l6 + excluded.l6, l7 = webhook_minutes.l7 + excluded.l7, l8 = webhook_minutes.l8 + excluded.l8,
  l9 = webhook_minutes.l9 + excluded.l9, l10 = webhook_minutes.l10 + excluded.l10

-- name: count_account_minutes
-- The same of all an account's webhooks together, in rows of this process's own.
INSERT INTO account_minutes (account_id, minute_at, shard, succeeded, failed, retries, latency_ms,
  l0, l1, l2, l3, l4, l5, l6, l7, l8, l9, l10)
VALUES (:account_id, :minute_at, :shard, :succeeded, :failed, :retries, :latency_ms,
  :l0, :l1, :l2, :l3, :l4, :l5, :l6, :l7, :l8, :l9, :l10)
ON CONFLICT (account_id, minute_at, shard) DO UPDATE SET
  succeeded = account_minutes.succeeded + excluded.succeeded, failed = account_minutes.failed + excluded.failed,
  retries = account_minutes.retries + excluded.retries, latency_ms = account_minutes.latency_ms + excluded.latency_ms,
  l0 = account_minutes.l0 + excluded.l0, l1 = account_minutes.l1 + excluded.l1, l2 = account_minutes.l2 + excluded.l2,
  l3 = account_minutes.l3 + excluded.l3, l4 = account_minutes.l4 + excluded.l4, l5 = account_minutes.l5 + excluded.l5,
  l6 = account_minutes.l6 + excluded.l6, l7 = account_minutes.l7 + excluded.l7, l8 = account_minutes.l8 + excluded.l8,
  l9 = account_minutes.l9 + excluded.l9, l10 = account_minutes.l10 + excluded.l10

-- name: health
-- Of several webhooks, named in a JSON array.
SELECT webhook_id, failing_since, consecutive_failures, last_success_at, last_failure_at, last_result, succeeded, failed
FROM webhook_health WHERE webhook_id IN (SELECT value FROM json_each(:webhook_ids)) AND account_id = :account_id

-- piece: sums
-- Of minutes, in the order of `window_from`. PostgreSQL adds integers up to something wider, which is cast back.
CAST(sum(succeeded) AS BIGINT), CAST(sum(failed) AS BIGINT), CAST(sum(retries) AS BIGINT), CAST(sum(latency_ms) AS BIGINT),
  CAST(sum(l0) AS BIGINT), CAST(sum(l1) AS BIGINT), CAST(sum(l2) AS BIGINT), CAST(sum(l3) AS BIGINT), CAST(sum(l4) AS BIGINT),
  CAST(sum(l5) AS BIGINT), CAST(sum(l6) AS BIGINT), CAST(sum(l7) AS BIGINT), CAST(sum(l8) AS BIGINT), CAST(sum(l9) AS BIGINT),
  CAST(sum(l10) AS BIGINT)

-- name: windows
-- The same webhooks' minutes since then, each added up: at most 1,440 rows each are read for a day.
SELECT webhook_id, {sums}
FROM webhook_minutes WHERE webhook_id IN (SELECT value FROM json_each(:webhook_ids)) AND account_id = :account_id AND minute_at >= :since
GROUP BY webhook_id

-- name: hours
-- The same minutes, added up for each hour from that instant on: what a small plot beside each webhook shows.
SELECT webhook_id, (minute_at - :since) / 3600000, CAST(sum(succeeded) AS BIGINT), CAST(sum(failed) AS BIGINT)
FROM webhook_minutes WHERE webhook_id IN (SELECT value FROM json_each(:webhook_ids)) AND account_id = :account_id AND minute_at >= :since
GROUP BY 1, 2 ORDER BY 1, 2

-- name: minutes_of_webhook
-- Oldest first.
SELECT minute_at, succeeded, failed, retries, latency_ms, l0, l1, l2, l3, l4, l5, l6, l7, l8, l9, l10
FROM webhook_minutes WHERE account_id = :account_id AND webhook_id = :webhook_id AND minute_at >= :since ORDER BY minute_at

-- name: minutes_of_account
-- Those of all its webhooks together, deleted ones included: a row for each minute and process.
SELECT minute_at, {sums}
FROM account_minutes WHERE account_id = :account_id AND minute_at >= :since GROUP BY minute_at ORDER BY minute_at

-- ============ whether anything changed ============

-- name: pulse_of_account
-- Other numbers than a moment ago: something that a page shows is other, too. Late ends of early attempts show in the minutes.
SELECT
  (SELECT id FROM attempts WHERE account_id = :account_id ORDER BY started_at DESC, id DESC LIMIT 1),
  (SELECT minute_at FROM account_minutes WHERE account_id = :account_id ORDER BY minute_at DESC LIMIT 1),
  (SELECT CAST(sum(succeeded + failed) AS BIGINT) FROM account_minutes WHERE account_id = :account_id AND minute_at >= :since),
  CAST(count(*) AS BIGINT), CAST(sum(revision) AS BIGINT), CAST(sum(coalesce(verified_at, 0)) AS BIGINT),
  CAST(sum(coalesce(paused_at, 0)) AS BIGINT)
FROM webhooks WHERE account_id = :account_id AND deleted_at IS NULL

-- name: pulse_of_webhook
-- Likewise.
SELECT
  (SELECT id FROM attempts WHERE account_id = w.account_id AND webhook_id = w.id ORDER BY started_at DESC, id DESC LIMIT 1),
  (SELECT succeeded + failed FROM webhook_health WHERE account_id = w.account_id AND webhook_id = w.id),
  (SELECT id FROM deliveries WHERE account_id = w.account_id AND webhook_id = w.id ORDER BY created_at DESC, id DESC LIMIT 1),
  (SELECT CAST(sum(examined) AS BIGINT) FROM recoveries WHERE account_id = w.account_id AND webhook_id = w.id),
  (SELECT count(*) FROM recoveries WHERE account_id = w.account_id AND webhook_id = w.id AND state = 'running'),
  w.revision, w.verified_at, w.paused_at
FROM webhooks w WHERE w.account_id = :account_id AND w.id = :webhook_id AND w.deleted_at IS NULL

-- ============ how things stand ============

-- name: failing
-- Those that fail, for the longest time first.
SELECT w.id, w.name, h.failing_since, h.consecutive_failures, h.last_failure_at, h.last_result
FROM webhook_health h JOIN webhooks w ON w.account_id = h.account_id AND w.id = h.webhook_id AND w.deleted_at IS NULL
WHERE h.account_id = :account_id AND h.failing_since IS NOT NULL ORDER BY h.failing_since, h.webhook_id LIMIT :limit

-- name: count_failing
-- How many.
SELECT count(*) FROM webhook_health h JOIN webhooks w ON w.account_id = h.account_id AND w.id = h.webhook_id AND w.deleted_at IS NULL
WHERE h.account_id = :account_id AND h.failing_since IS NOT NULL

-- name: waiting_webhooks
-- Those that are sent nothing now, and when the first of what is held for them expires: one probe each.
SELECT w.id, w.name, w.created_at, w.paused_at, w.verified_at, (
  SELECT min(d.expires_at) FROM deliveries d WHERE d.account_id = w.account_id AND d.webhook_id = w.id AND d.state = 'held')
FROM webhooks w WHERE w.account_id = :account_id AND w.deleted_at IS NULL AND (w.verified_at IS NULL OR w.paused_at IS NOT NULL)
ORDER BY w.created_at DESC, w.id DESC

-- name: count_some_held
-- Not further than needed.
SELECT count(*) FROM (SELECT 1 FROM deliveries
  WHERE account_id = :account_id AND webhook_id = :webhook_id AND state = 'held' LIMIT :most) AS first

-- name: expiring_of_account
-- Presented certificates that end soon, or have.
SELECT w.id, w.name, c.expires_at
FROM webhooks w JOIN webhook_certificates c ON c.account_id = w.account_id AND c.webhook_id = w.id
WHERE w.account_id = :account_id AND w.deleted_at IS NULL AND w.auth_method = 'mtls' AND c.replaced_at IS NULL AND c.expires_at < :before
ORDER BY c.expires_at, w.id LIMIT :limit

-- name: last_undelivered
-- The newest failed delivery of each webhook, and of those the newest: one probe for each webhook.
SELECT first.webhook_id, first.name, first.id, first.created_at, first.failure_reason, first.last_result, first.redelivered, e.id, e.type
FROM (
  SELECT d.webhook_id, w.name, d.id, d.created_at, d.failure_reason, d.last_result, d.redelivered, d.event_seq FROM (
    SELECT name, (SELECT f.id FROM deliveries f WHERE f.account_id = webhooks.account_id AND f.webhook_id = webhooks.id
      AND f.state = 'failed' ORDER BY f.created_at DESC, f.id DESC LIMIT 1) AS delivery_id
    FROM webhooks WHERE account_id = :account_id AND deleted_at IS NULL) AS w
  JOIN deliveries d ON d.id = w.delivery_id ORDER BY d.created_at DESC, d.id DESC LIMIT :limit) AS first
LEFT JOIN events e ON e.seq = first.event_seq ORDER BY first.created_at DESC, first.id DESC

-- name: subscribers
-- Who wants a type, as it is shown.
SELECT w.id, w.name, w.verified_at, w.paused_at FROM subscriptions s
JOIN webhooks w ON w.account_id = s.account_id AND w.id = s.webhook_id AND w.deleted_at IS NULL
WHERE s.account_id = :account_id AND s.event_type = :event_type ORDER BY w.id DESC LIMIT :limit

-- name: failing_by_account
-- How many webhooks fail, in each account that has any.
SELECT h.account_id, count(*) FROM webhook_health h
JOIN webhooks w ON w.account_id = h.account_id AND w.id = h.webhook_id AND w.deleted_at IS NULL
WHERE h.failing_since IS NOT NULL GROUP BY h.account_id

-- name: queued_of_account
-- How many wait to be sent or are being sent, and when the first is due; no further than so many, lane by lane.
SELECT count(*), min(due_at) FROM (SELECT due_at FROM deliveries
  WHERE account_id = :account_id AND due_at IS NOT NULL ORDER BY webhook_id, due_at LIMIT :most) AS first

-- name: held_of_account
-- Likewise, and when the first expires.
SELECT count(*), min(expires_at) FROM (SELECT expires_at FROM deliveries
  WHERE account_id = :account_id AND state = 'held' ORDER BY webhook_id, expires_at LIMIT :most) AS first

-- name: accounts_queued
-- Accounts that anything is queued for: the loose scan of `lanes`, from account to account.
WITH RECURSIVE lane (account_id) AS (
  SELECT account_id FROM (SELECT account_id FROM deliveries WHERE due_at IS NOT NULL AND account_id > ''
    ORDER BY account_id, webhook_id, due_at LIMIT 1) AS first
  UNION ALL
  SELECT (SELECT d.account_id FROM deliveries d WHERE d.due_at IS NOT NULL AND d.account_id > lane.account_id
    ORDER BY d.account_id, d.webhook_id, d.due_at LIMIT 1) FROM lane WHERE lane.account_id IS NOT NULL)
SELECT account_id FROM lane WHERE account_id IS NOT NULL LIMIT :limit

-- name: minutes_by_webhook
-- The last minutes of all accounts' webhooks, each added up; at most so many rows are looked at, the newest.
SELECT w.account_id, w.id, w.name, w.url, s.* FROM (
  SELECT account_id, webhook_id, {sums}
  FROM (SELECT * FROM webhook_minutes WHERE minute_at >= :since ORDER BY minute_at DESC LIMIT :most) AS first
  GROUP BY account_id, webhook_id) AS s
JOIN webhooks w ON w.account_id = s.account_id AND w.id = s.webhook_id AND w.deleted_at IS NULL

-- ============ the log ============
-- A page is found in two steps: its keys, read from narrow columns along an index, then the rows themselves. Where the index does not
-- answer the whole filter, an `_edge_` statement first says where a stretch of bounded length ends. The index is walked in an inner
-- statement with a LIMIT of its own: a planner that thinks it knows better, having guessed how many rows match, must not sort instead.

-- choice: attempts_log
-- Where a page of attempts is read: what the index starts with, and what it holds.
webhook: account_id = :account_id AND webhook_id = :webhook_id

account: account_id = :account_id

failed: account_id = :account_id AND webhook_id = :webhook_id AND (status IS NULL OR status NOT IN (200, 201))

other: account_id = :account_id AND webhook_id = :webhook_id AND kind = :kind AND kind <> 'delivery'

-- piece: attempt_matches
-- The rest of a filter; NULL: any. The column stands first: PostgreSQL takes the parameter's type from it.
(event_type = :event_type OR :event_type IS NULL) AND (event_id = :event_id OR :event_id IS NULL) AND (kind = :kind OR :kind IS NULL)
  AND (status = :status OR :status IS NULL) AND (status / 100 = :status_class OR :status_class IS NULL)
  AND (reason = :reason OR :reason IS NULL) AND (CASE WHEN status IN (200, 201) THEN 1 ELSE 0 END = :succeeded OR :succeeded IS NULL)

-- name: attempts_{attempts_log}_before
-- Keys of a page, newest first.
SELECT started_at, id FROM (
  SELECT id, started_at, event_type, event_id, kind, status, reason FROM attempts
  WHERE {attempts_log} AND (started_at, id) < (:at, :id) AND (started_at, id) >= (:end_at, :end_id)
  ORDER BY started_at DESC, id DESC LIMIT :most) AS stretch
WHERE {attempt_matches} LIMIT :limit

-- name: attempts_{attempts_log}_after
-- Keys of what came since, oldest first.
SELECT started_at, id FROM (
  SELECT id, started_at, event_type, event_id, kind, status, reason FROM attempts
  WHERE {attempts_log} AND (started_at, id) > (:at, :id) AND (started_at, id) <= (:end_at, :end_id)
  ORDER BY started_at, id LIMIT :most) AS stretch
WHERE {attempt_matches} LIMIT :limit

-- name: attempts_{attempts_log}_edge_before
-- The key at which a stretch of so many rows ends.
SELECT started_at, id FROM attempts
WHERE {attempts_log} AND (started_at, id) < (:at, :id) AND (started_at, id) >= (:end_at, :end_id)
ORDER BY started_at DESC, id DESC LIMIT 1 OFFSET :scan

-- name: attempts_{attempts_log}_edge_after
-- Likewise, upwards.
SELECT started_at, id FROM attempts
WHERE {attempts_log} AND (started_at, id) > (:at, :id) AND (started_at, id) <= (:end_at, :end_id)
ORDER BY started_at, id LIMIT 1 OFFSET :scan

-- piece: attempts_of_event
-- By way of the deliveries; a test has none. As many rows as the event has attempts: they are sorted. For SQLite, CROSS JOIN tells in
-- which order to look, and the sum hides a column by which it would else walk the account's whole log.
(SELECT a.id, a.webhook_id, a.event_type, a.event_id, a.kind, a.started_at + 0 AS started_at, a.status, a.reason
  FROM events e CROSS JOIN deliveries d CROSS JOIN attempts a
  WHERE e.account_id = :account_id AND e.id = :event_id AND d.event_seq = e.seq AND a.delivery_id = d.id
  UNION ALL
  SELECT id, webhook_id, event_type, event_id, kind, started_at + 0 AS started_at, status, reason
  FROM attempts WHERE account_id = :account_id AND event_id = :event_id AND kind = 'test') AS of_event

-- name: whole_event
-- Whether retention has left an event all deliveries that it was published to. A redelivery keeps the event, not those before it.
SELECT e.deliveries <= (SELECT count(*) FROM deliveries d WHERE d.event_seq = e.seq AND d.origin IS NULL)
FROM events e WHERE e.account_id = :account_id AND e.id = :id

-- name: attempts_of_event_before
-- Keys of a page of one event's attempts, newest first.
SELECT started_at, id FROM {attempts_of_event}
WHERE (webhook_id = :webhook_id OR :webhook_id IS NULL)
  AND (started_at, id) < (:at, :id) AND (started_at, id) >= (:end_at, :end_id) AND {attempt_matches}
ORDER BY started_at DESC, id DESC LIMIT :limit

-- name: attempts_of_event_after
-- Likewise, oldest first.
SELECT started_at, id FROM {attempts_of_event}
WHERE (webhook_id = :webhook_id OR :webhook_id IS NULL)
  AND (started_at, id) > (:at, :id) AND (started_at, id) <= (:end_at, :end_id) AND {attempt_matches}
ORDER BY started_at, id LIMIT :limit

-- piece: attempt_columns
-- In the order of `attempt_from`.
a.id, a.account_id, a.webhook_id, a.kind, a.delivery_id, a.event_id, a.event_type, a.number, a.started_at, a.status, a.reason, a.phase,
  a.detail, a.dns_us, a.connect_us, a.tls_us, a.first_byte_us, a.total_us, a.remote_address, a.tls_version, a.reconnects, a.truncated,
  a.body_error, a.url, a.credential_id, a.next_attempt_at, a.echo, a.note, a.headers, a.body, a.bodies_dropped, d.origin

-- piece: in_ids
-- One of the numbers in a JSON array.
IN (SELECT value FROM json_each(:ids))

-- name: attempts_by_ids
-- The rows of a page.
SELECT {attempt_columns} FROM attempts a LEFT JOIN deliveries d ON d.id = a.delivery_id WHERE a.id {in_ids}

-- name: attempt
-- One of them.
SELECT {attempt_columns} FROM attempts a LEFT JOIN deliveries d ON d.id = a.delivery_id WHERE a.id = :id AND a.account_id = :account_id

-- name: payload_of
-- What was sent, byte for byte.
SELECT payload FROM events WHERE account_id = :account_id AND id = :id

-- name: insert_test_event
-- What a test sent: kept for the log, owed to nobody.
INSERT INTO events (seq, account_id, id, type, time_at, accepted_at, expires_at, deliveries, fingerprint, payload, is_test)
VALUES (:seq, :account_id, :id, :type, :time_at, :accepted_at, :expires_at, 0, :fingerprint, :payload, 1)
ON CONFLICT (account_id, id) DO NOTHING

-- choice: deliveries_log
-- Where a page of deliveries is read.
log: account_id = :account_id AND webhook_id = :webhook_id

failed: account_id = :account_id AND webhook_id = :webhook_id AND state = 'failed'

-- piece: delivery_matches
-- The rest of a filter; states: their names in one text, '' for any.
(replace(:states, d.state, '') <> :states OR :states = '') AND (d.last_result = :result OR :result IS NULL)
  AND (CAST(:event_type AS TEXT) IS NULL OR (SELECT e.type FROM events e WHERE e.seq = d.event_seq) = :event_type)

-- name: deliveries_{deliveries_log}_before
-- Keys of a page, newest first.
SELECT created_at, id FROM (
  SELECT id, created_at, state, last_result, event_seq FROM deliveries
  WHERE {deliveries_log} AND (created_at, id) < (:at, :id) AND (created_at, id) >= (:end_at, :end_id)
  ORDER BY created_at DESC, id DESC LIMIT :most) AS d
WHERE {delivery_matches} LIMIT :limit

-- name: deliveries_{deliveries_log}_after
-- Likewise, oldest first.
SELECT created_at, id FROM (
  SELECT id, created_at, state, last_result, event_seq FROM deliveries
  WHERE {deliveries_log} AND (created_at, id) > (:at, :id) AND (created_at, id) <= (:end_at, :end_id)
  ORDER BY created_at, id LIMIT :most) AS d
WHERE {delivery_matches} LIMIT :limit

-- name: deliveries_{deliveries_log}_edge_before
-- The key at which a stretch of so many rows ends.
SELECT created_at, id FROM deliveries
WHERE {deliveries_log} AND (created_at, id) < (:at, :id) AND (created_at, id) >= (:end_at, :end_id)
ORDER BY created_at DESC, id DESC LIMIT 1 OFFSET :scan

-- name: deliveries_{deliveries_log}_edge_after
-- Likewise, upwards.
SELECT created_at, id FROM deliveries
WHERE {deliveries_log} AND (created_at, id) > (:at, :id) AND (created_at, id) <= (:end_at, :end_id)
ORDER BY created_at, id LIMIT 1 OFFSET :scan

-- name: deliveries_{deliveries_log}_count
-- How many match, from a key on, among so many rows.
SELECT count(*) FROM (
  SELECT state, last_result, event_seq FROM deliveries
  WHERE {deliveries_log} AND (created_at, id) > (:at, :id) AND (created_at, id) <= (:end_at, :end_id)
  ORDER BY created_at, id LIMIT :most) AS d
WHERE {delivery_matches}

-- piece: deliveries_waiting
-- Few enough to be sorted: see `waiting`. Their own order first, or SQLite would walk the whole log in the order of the page instead.
(SELECT id, state, last_result, event_seq, created_at FROM (
    SELECT id, state, last_result, event_seq, created_at FROM deliveries
    WHERE account_id = :account_id AND webhook_id = :webhook_id AND due_at IS NOT NULL ORDER BY due_at LIMIT :most) AS queued
  UNION ALL
  SELECT id, state, last_result, event_seq, created_at FROM (
    SELECT id, state, last_result, event_seq, created_at FROM deliveries
    WHERE account_id = :account_id AND webhook_id = :webhook_id AND state = 'held' ORDER BY expires_at LIMIT :most) AS held) AS d

-- name: waiting
-- How many are held or queued; not counted further than needed.
SELECT (SELECT count(*) FROM (SELECT 1 FROM deliveries
    WHERE account_id = :account_id AND webhook_id = :webhook_id AND due_at IS NOT NULL LIMIT :most) AS queued)
  + (SELECT count(*) FROM (SELECT 1 FROM deliveries
    WHERE account_id = :account_id AND webhook_id = :webhook_id AND state = 'held' LIMIT :most) AS held)

-- name: deliveries_waiting_before
-- Keys of a page of few, newest first.
SELECT created_at, id FROM {deliveries_waiting}
WHERE (created_at, id) < (:at, :id) AND (created_at, id) >= (:end_at, :end_id) AND {delivery_matches}
ORDER BY created_at DESC, id DESC LIMIT :limit

-- name: deliveries_waiting_after
-- Likewise, oldest first.
SELECT created_at, id FROM {deliveries_waiting}
WHERE (created_at, id) > (:at, :id) AND (created_at, id) <= (:end_at, :end_id) AND {delivery_matches}
ORDER BY created_at, id LIMIT :limit

-- name: deliveries_of_event_before
-- Keys of a page of one event's deliveries to one webhook, newest first.
SELECT d.created_at, d.id FROM events v JOIN deliveries d ON d.event_seq = v.seq AND d.webhook_id = :webhook_id
WHERE v.account_id = :account_id AND v.id = :event_id
  AND (d.created_at, d.id) < (:at, :id) AND (d.created_at, d.id) >= (:end_at, :end_id) AND {delivery_matches}
ORDER BY d.created_at DESC, d.id DESC LIMIT :limit

-- name: deliveries_of_event_after
-- Likewise, oldest first.
SELECT d.created_at, d.id FROM events v JOIN deliveries d ON d.event_seq = v.seq AND d.webhook_id = :webhook_id
WHERE v.account_id = :account_id AND v.id = :event_id
  AND (d.created_at, d.id) > (:at, :id) AND (d.created_at, d.id) <= (:end_at, :end_id) AND {delivery_matches}
ORDER BY d.created_at, d.id LIMIT :limit

-- piece: delivery_columns
-- In the order of `delivery_from`.
d.id, d.account_id, d.webhook_id, e.id, e.type, e.time_at, d.state, d.failure_reason, d.attempts, d.due_at, d.lease IS NOT NULL,
  d.expires_at, d.created_at, d.last_result, d.origin, d.recovery_id

-- name: deliveries_by_ids
-- The rows of a page.
SELECT {delivery_columns} FROM deliveries d JOIN events e ON e.seq = d.event_seq WHERE d.id {in_ids}

-- name: delivery
-- One of them.
SELECT {delivery_columns} FROM deliveries d JOIN events e ON e.seq = d.event_seq
WHERE d.id = :id AND d.account_id = :account_id AND d.webhook_id = :webhook_id

-- name: event
-- One event as it was kept, tests included.
SELECT seq, account_id, id, type, time_at, accepted_at, expires_at, payload, is_test FROM events WHERE account_id = :account_id AND id = :id

-- name: deliveries_by_event
-- All that was owed for it.
SELECT {delivery_columns} FROM deliveries d JOIN events e ON e.seq = d.event_seq
WHERE d.event_seq = :seq
ORDER BY d.webhook_id, d.created_at, d.id

-- name: undelivered_failed
-- The newest so many failed ones, by reason, from the index alone. One that was redelivered counts as what became of that.
SELECT failure_reason, last_result, count(*), min(created_at) FROM (
  SELECT failure_reason, last_result, created_at, redelivered FROM deliveries
  WHERE account_id = :account_id AND webhook_id = :webhook_id AND state = 'failed'
  ORDER BY created_at DESC, id DESC LIMIT :most) AS newest
WHERE redelivered = 0
GROUP BY failure_reason, last_result

-- name: undelivered_held
-- Likewise; those that expire first.
SELECT last_result, count(*), min(created_at), min(expires_at) FROM (
  SELECT last_result, created_at, expires_at FROM deliveries
  WHERE account_id = :account_id AND webhook_id = :webhook_id AND state = 'held'
  ORDER BY expires_at LIMIT :most) AS first
GROUP BY last_result

-- name: undelivered_queued
-- Those that are due first. Their rows are read: what is on the road shall not pay for a wider index.
SELECT last_result, count(*), min(created_at), min(expires_at) FROM (
  SELECT last_result, created_at, expires_at FROM deliveries
  WHERE account_id = :account_id AND webhook_id = :webhook_id AND due_at IS NOT NULL
  ORDER BY due_at LIMIT :most) AS first
GROUP BY last_result

-- ============ redelivery ============

-- name: redeliverable
-- One delivery, and what decides whether another may be made.
SELECT event_seq, state, lease IS NOT NULL, due_at, expires_at FROM deliveries
WHERE id = :id AND account_id = :account_id AND webhook_id = :webhook_id

-- name: lock_events
-- Which of these events exist, and how long their payloads are. Whoever adds a delivery to an event, or takes its payload away, locks
-- it first and looks then: on PostgreSQL the override waits here, on SQLite one writer at a time does.
SELECT seq, length(payload) FROM events WHERE seq {in_ids} ORDER BY seq

-- name: twins
-- All deliveries of these events to one webhook.
SELECT event_seq, id, state, recovery_id FROM deliveries WHERE event_seq {in_ids} AND webhook_id = :webhook_id

-- name: bring_forward
-- Due now instead of later, unless someone has just taken it.
UPDATE deliveries SET due_at = :now WHERE id = :id AND due_at > :now AND lease IS NULL

-- name: expire_queued
-- Its window ended while it waited for its turn: failed, as the next claim would have found.
UPDATE deliveries SET state = 'failed', failure_reason = 'expired', due_at = NULL
WHERE id = :id AND due_at IS NOT NULL AND lease IS NULL AND expires_at <= :now

-- name: mark_redelivered
-- The failed deliveries of these events to one webhook are answered for by a newer one.
UPDATE deliveries SET redelivered = 1 WHERE event_seq {in_ids} AND webhook_id = :webhook_id AND state = 'failed'

-- name: deliver_again
-- The same event to the same webhook, with a life of its own. The empty rows that fill a batch up are none.
WITH s (id, account_id, webhook_id, event_seq, due_at, expires_at, created_at, origin, recovery_id) AS (
  VALUES (:id, :account_id, :webhook_id, :event_seq, :due_at, :expires_at, :created_at, :origin, :recovery_id))
INSERT INTO deliveries (id, account_id, webhook_id, event_seq, state, due_at, attempts, expires_at, created_at, origin, recovery_id)
SELECT s.id, s.account_id, s.webhook_id, s.event_seq, 'queued', s.due_at, 0, s.expires_at, s.created_at, s.origin, s.recovery_id FROM s
WHERE s.id IS NOT NULL

-- piece: recovery_columns
-- In the order of `_recovery_from`.
account_id, webhook_id, id, filter, rate_per_second, created_at, state, finished_at, total, examined, requeued, skipped, gone

-- name: add_recovery
-- One at a time for each webhook.
INSERT INTO recoveries (account_id, webhook_id, id, state, filter, rate_per_second, created_at, next_step_at, after_at, after_id, total)
VALUES (:account_id, :webhook_id, :id, 'running', :filter, :rate_per_second, :created_at, :created_at, :after_at, :after_id, :total)
ON CONFLICT DO NOTHING

-- name: recovery
-- One, whatever became of it.
SELECT {recovery_columns} FROM recoveries WHERE account_id = :account_id AND webhook_id = :webhook_id AND id = :id

-- name: recoveries
-- Newest first.
SELECT {recovery_columns} FROM recoveries WHERE account_id = :account_id AND webhook_id = :webhook_id
ORDER BY created_at DESC, id DESC LIMIT :limit

-- name: running_recoveries
-- Those whose next step is due.
SELECT account_id, webhook_id, id FROM recoveries WHERE state = 'running' AND next_step_at <= :now ORDER BY next_step_at LIMIT :limit

-- name: recovery_to_step
-- Where it stands, if it runs and its next step is due; ours alone until the commit.
SELECT after_at, after_id FROM recoveries
WHERE account_id = :account_id AND webhook_id = :webhook_id AND id = :id AND state = 'running' AND next_step_at <= :now

-- name: recovery_candidates
-- What `deliveries_..._after` found, to be judged.
SELECT created_at, id, event_seq, state FROM deliveries WHERE id {in_ids} ORDER BY created_at, id

-- name: move_recovery
-- A step's end.
UPDATE recoveries SET after_at = :after_at, after_id = :after_id, next_step_at = :next_step_at, examined = examined + :examined,
  requeued = requeued + :requeued, skipped = skipped + :skipped, gone = gone + :gone
WHERE account_id = :account_id AND webhook_id = :webhook_id AND id = :id

-- name: end_recovery
-- Done, or cancelled; what has ended stays as it ended.
UPDATE recoveries SET state = :state, finished_at = :now
WHERE account_id = :account_id AND webhook_id = :webhook_id AND id = :id AND state = 'running'

-- ============ retention ============
-- What is old is looked for by ids (no index on the road is kept for it) on a reader's connection, then taken away here by name.

-- name: ages_of_attempts
-- Narrow columns, in the order of ids: when it was, and what is to be done once it is old: 0 nothing, 1 take it away, 2 wait.
SELECT id, started_at, 1 FROM attempts WHERE id > :after AND id <= :end ORDER BY id LIMIT :limit

-- name: ages_of_deliveries
-- Likewise, with the event. What is held or queued must stay, however old.
SELECT id, created_at, CASE WHEN state IN ('delivered', 'failed') THEN 1 ELSE 0 END, event_seq FROM deliveries
WHERE id > :after AND id <= :end ORDER BY id LIMIT :limit

-- name: ages_of_events
-- Likewise. An event stays while it has a delivery. Not EXISTS: PostgreSQL might read all deliveries first, to look them up.
SELECT seq, accepted_at, CASE WHEN (SELECT 1 FROM deliveries d WHERE d.event_seq = events.seq LIMIT 1) = 1 THEN 0 ELSE 1 END FROM events
WHERE seq > :after AND seq <= :end ORDER BY seq LIMIT :limit

-- name: ages_of_payloads
-- Likewise. One that is owed still is waited for.
SELECT seq, accepted_at, CASE WHEN length(payload) = 0 THEN 0
  WHEN (SELECT 1 FROM deliveries d WHERE d.event_seq = events.seq AND d.state IN ('held', 'queued') LIMIT 1) = 1 THEN 2 ELSE 1 END
FROM events WHERE seq > :after AND seq <= :end ORDER BY seq LIMIT :limit

-- name: ages_of_answers
-- Likewise. Lengths are known without reading what they measure.
SELECT id, started_at, CASE WHEN length(headers) > 0 OR length(body) > 0 THEN 1 ELSE 0 END FROM attempts
WHERE id > :after AND id <= :end ORDER BY id LIMIT :limit

-- name: prune_attempts
-- Gone for good.
DELETE FROM attempts WHERE id {in_ids}

-- name: prune_deliveries
-- Only what is over.
DELETE FROM deliveries WHERE id {in_ids} AND state IN ('delivered', 'failed')

-- name: prune_events
-- Only those that no delivery needs. After `lock_events`: nobody can add one in between.
DELETE FROM events WHERE seq {in_ids} AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.event_seq = events.seq)

-- name: drop_payloads
-- Likewise, only those that no waiting delivery needs.
UPDATE events SET payload = :nothing WHERE seq {in_ids}
  AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.event_seq = events.seq AND d.state IN ('held', 'queued'))

-- name: drop_answers
-- What receivers said; that they said something is remembered.
UPDATE attempts SET headers = :nothing, body = :nothing, bodies_dropped = 1 WHERE id {in_ids}

-- name: prune_minutes
-- Counters that nobody shows any more, one minute at a time: a row for each webhook that was sent to in it.
DELETE FROM webhook_minutes WHERE minute_at < :before AND minute_at = (SELECT min(minute_at) FROM webhook_minutes)

-- name: prune_account_minutes
-- Likewise.
DELETE FROM account_minutes WHERE minute_at < :before AND minute_at = (SELECT min(minute_at) FROM account_minutes)

-- name: prune_recoveries
-- Reports of recoveries that ended long ago.
DELETE FROM recoveries WHERE (account_id, webhook_id, id) IN (
  SELECT account_id, webhook_id, id FROM recoveries WHERE finished_at < :before ORDER BY finished_at LIMIT :limit)

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

-- piece: account_matches
-- Those with a text in name or id, and those of one person; NULL: any. All are looked at: there are some thousands, of narrow rows.
(lower(name) LIKE :text ESCAPE '!' OR lower(id) LIKE :text ESCAPE '!' OR :text IS NULL)
  AND (CAST(:person_id AS TEXT) IS NULL OR id IN (SELECT account_id FROM memberships WHERE person_id = :person_id))

-- name: account_page
-- By name.
SELECT id, name, enterprise, created_at FROM accounts WHERE {account_matches} ORDER BY lower(name), id LIMIT :limit OFFSET :offset

-- name: accounts_matching
-- How many match in all.
SELECT count(*) FROM accounts WHERE {account_matches}

-- name: set_enterprise
-- Webhooks are an enterprise feature.
UPDATE accounts SET enterprise = :enterprise WHERE id = :account_id

-- name: lock_account
-- Two processes that add webhooks, or add or revoke secrets, of one account wait for each other here: their limits are counted, not
-- constrained.
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
-- Every key and certificate of a webhook; what each is bound to depends on which it is.
SELECT account_id, webhook_id, id, auth_method, sealed FROM webhook_credentials ORDER BY account_id, webhook_id, id

-- name: reseal_secret
-- The same secret under another master key, unless it changed meanwhile.
UPDATE account_secrets SET sealed = :sealed WHERE account_id = :account_id AND id = :id AND sealed = :old

-- name: reseal_credential
-- Likewise.
UPDATE webhook_credentials SET sealed = :sealed WHERE account_id = :account_id AND webhook_id = :webhook_id AND id = :id AND sealed = :old

-- name: sealed_extras
-- Static headers and signing keys of webhooks.
SELECT account_id, id, extras FROM webhooks WHERE extras IS NOT NULL ORDER BY account_id, id

-- name: reseal_extras
-- Likewise. No edit: the customer sees no other revision.
UPDATE webhooks SET extras = :sealed WHERE account_id = :account_id AND id = :id AND extras = :old

-- name: sealed_authorities
-- Keys of our certificate authorities.
SELECT id, sealed FROM authorities WHERE removed_at IS NULL ORDER BY id

-- name: reseal_authority
-- Likewise.
UPDATE authorities SET sealed = :sealed WHERE id = :id AND sealed = :old

-- name: meta
-- A value of the installation itself, such as the vault's canary.
SELECT value FROM meta WHERE key = :key

-- name: set_meta_once
-- Whoever comes first sets it.
INSERT INTO meta (key, value) VALUES (:key, :value) ON CONFLICT DO NOTHING

-- name: probe
-- Can we write? Asked while the database was found gone or full.
INSERT INTO meta (key, value) VALUES ('probe', :value) ON CONFLICT (key) DO UPDATE SET value = excluded.value

-- ============ people ============

-- name: add_person
-- Somebody who may sign in.
INSERT INTO people (id, email, is_operator, created_at) VALUES (:id, :email, :is_operator, :created_at) ON CONFLICT DO NOTHING

-- name: person
-- One, by id or by email.
SELECT id, email, is_operator, password, created_at, signed_in_at FROM people WHERE id = :id OR email = :email

-- name: people
-- All, by email.
SELECT id, email, is_operator, password, created_at, signed_in_at FROM people ORDER BY email

-- name: lock_person
-- Two processes that change one person wait for each other here.
UPDATE people SET email = email WHERE id = :id

-- name: set_operator
-- An operator sees every account.
UPDATE people SET is_operator = :is_operator WHERE id = :id

-- name: set_password
-- A hash, never the password.
UPDATE people SET password = :password WHERE id = :id

-- name: rehash_password
-- The same password under today's parameters, unless it was changed meanwhile.
UPDATE people SET password = :password WHERE id = :id AND password = :before

-- name: note_sign_in
-- For those who look after the list of people.
UPDATE people SET signed_in_at = :now WHERE id = :id

-- name: remove_person
-- With all that is theirs: see the next four.
DELETE FROM people WHERE id = :id

-- name: add_membership
-- Once more: the role is changed.
INSERT INTO memberships (account_id, person_id, role, created_at) VALUES (:account_id, :person_id, :role, :created_at)
ON CONFLICT (account_id, person_id) DO UPDATE SET role = excluded.role

-- name: memberships_of
-- One person's.
SELECT account_id, role FROM memberships WHERE person_id = :person_id ORDER BY account_id

-- name: members
-- An account's people, by email.
SELECT p.id, p.email, p.is_operator, p.password, p.created_at, p.signed_in_at, m.role
FROM memberships m JOIN people p ON p.id = m.person_id WHERE m.account_id = :account_id ORDER BY p.email

-- name: remove_membership
-- They see this account no more.
DELETE FROM memberships WHERE account_id = :account_id AND person_id = :person_id

-- name: remove_memberships
-- Nor any other.
DELETE FROM memberships WHERE person_id = :person_id

-- name: add_link
-- A one-time link.
INSERT INTO person_links (digest, person_id, purpose, created_at, expires_at)
VALUES (:digest, :person_id, :purpose, :created_at, :expires_at) ON CONFLICT DO NOTHING

-- name: link
-- What a link is for, while it is good.
SELECT person_id, purpose FROM person_links WHERE digest = :digest AND expires_at > :now

-- name: use_link
-- Whoever deletes it has used it.
DELETE FROM person_links WHERE digest = :digest AND expires_at > :now

-- name: forget_links
-- A new one, a password or an end makes those before it void.
DELETE FROM person_links WHERE person_id = :person_id

-- name: forget_old_links
-- Those whose time is over.
DELETE FROM person_links WHERE expires_at <= :now

-- name: add_session
-- A browser is signed in.
INSERT INTO sessions (digest, person_id, agent, created_at, seen_at, expires_at)
VALUES (:digest, :person_id, :agent, :created_at, :created_at, :expires_at) ON CONFLICT DO NOTHING

-- name: session
-- Who it is, while the session is good.
SELECT s.digest, s.person_id, s.agent, s.created_at, s.seen_at, s.expires_at, p.email, p.is_operator
FROM sessions s JOIN people p ON p.id = s.person_id WHERE s.digest = :digest AND s.expires_at > :now AND s.seen_at > :seen_after

-- name: sessions_of
-- One person's, newest first.
SELECT s.digest, s.person_id, s.agent, s.created_at, s.seen_at, s.expires_at, p.email, p.is_operator
FROM sessions s JOIN people p ON p.id = s.person_id
WHERE s.person_id = :person_id AND s.expires_at > :now AND s.seen_at > :seen_after ORDER BY s.created_at DESC, s.digest

-- name: touch_session
-- It is in use.
UPDATE sessions SET seen_at = :now WHERE digest = :digest AND seen_at < :now

-- name: end_session
-- Signed out.
DELETE FROM sessions WHERE person_id = :person_id AND digest = :digest

-- name: end_sessions
-- Signed out everywhere, but for one.
DELETE FROM sessions WHERE person_id = :person_id AND digest <> :but

-- name: forget_sessions
-- Those whose time is over.
DELETE FROM sessions WHERE expires_at <= :now

-- name: set_flash
-- What the page at a path is to show once.
UPDATE sessions SET flash_path = :path, flash = :flash WHERE digest = :digest

-- name: flash
-- Is there something to show?
SELECT flash FROM sessions WHERE digest = :digest AND flash_path = :path AND flash IS NOT NULL

-- name: take_flash
-- Whoever clears it shows it.
UPDATE sessions SET flash_path = NULL, flash = NULL WHERE digest = :digest AND flash_path = :path AND flash = :flash
