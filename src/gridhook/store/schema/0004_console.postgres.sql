-- Who may use the console, for PostgreSQL. Text sorts by its bytes.

-- `password`: an Argon2id hash in PHC form; NULL until one was set. An operator sees every account.
CREATE TABLE people (
  id TEXT COLLATE "C" PRIMARY KEY,
  email TEXT COLLATE "C" NOT NULL UNIQUE,
  is_operator BIGINT NOT NULL DEFAULT 0,
  password TEXT COLLATE "C",
  created_at BIGINT NOT NULL,
  signed_in_at BIGINT
);

CREATE TABLE memberships (
  account_id TEXT COLLATE "C" NOT NULL,
  person_id TEXT COLLATE "C" NOT NULL,
  role TEXT COLLATE "C" NOT NULL CHECK (role IN ('viewer', 'admin')),
  created_at BIGINT NOT NULL,
  PRIMARY KEY (account_id, person_id)
);
-- for: memberships_of
CREATE INDEX memberships_person ON memberships (person_id, account_id);

-- One-time links, known by the SHA-256 of their token. password: to set one. sign_in: to be signed in without one.
CREATE TABLE person_links (
  digest BYTEA PRIMARY KEY,
  person_id TEXT COLLATE "C" NOT NULL,
  purpose TEXT COLLATE "C" NOT NULL CHECK (purpose IN ('password', 'sign_in')),
  created_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL
);
-- for: forget_links
CREATE INDEX person_links_person ON person_links (person_id);

-- A browser that is signed in, known by the SHA-256 of its cookie. `flash`: sealed, what the page at `flash_path` shows once.
CREATE TABLE sessions (
  digest BYTEA PRIMARY KEY,
  person_id TEXT COLLATE "C" NOT NULL,
  agent TEXT COLLATE "C" NOT NULL,
  created_at BIGINT NOT NULL,
  seen_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL,
  flash_path TEXT COLLATE "C",
  flash BYTEA
);
-- for: sessions_of, end_sessions
CREATE INDEX sessions_person ON sessions (person_id, created_at);
-- for: forget_sessions
CREATE INDEX sessions_expiry ON sessions (expires_at);

-- for: failing, failing_by_account. Few: it changes only where a webhook begins to fail, or comes back.
CREATE INDEX webhook_health_failing ON webhook_health (account_id, failing_since, webhook_id) WHERE failing_since IS NOT NULL;

-- The minutes of all an account's webhooks together. Each process adds to rows of its own (`shard`), and readers add those up: a row
-- for each account alone would be one that all processes wait for.
CREATE TABLE account_minutes (
  account_id TEXT COLLATE "C" NOT NULL,
  minute_at BIGINT NOT NULL,
  shard BIGINT NOT NULL,
  succeeded BIGINT NOT NULL,
  failed BIGINT NOT NULL,
  retries BIGINT NOT NULL,
  latency_ms BIGINT NOT NULL,
  l0 BIGINT NOT NULL, l1 BIGINT NOT NULL, l2 BIGINT NOT NULL, l3 BIGINT NOT NULL, l4 BIGINT NOT NULL, l5 BIGINT NOT NULL,
  l6 BIGINT NOT NULL, l7 BIGINT NOT NULL, l8 BIGINT NOT NULL, l9 BIGINT NOT NULL, l10 BIGINT NOT NULL,
  PRIMARY KEY (account_id, minute_at, shard)
);
-- for: prune_account_minutes
CREATE INDEX account_minutes_age ON account_minutes (minute_at);
INSERT INTO account_minutes SELECT account_id, minute_at, -1, sum(succeeded), sum(failed), sum(retries), sum(latency_ms), sum(l0), sum(l1),
  sum(l2), sum(l3), sum(l4), sum(l5), sum(l6), sum(l7), sum(l8), sum(l9), sum(l10)
FROM webhook_minutes GROUP BY account_id, minute_at;
