-- Certificates that we issue and present, for SQLite.

CREATE TABLE authorities (
  id TEXT PRIMARY KEY,
  certificate BLOB NOT NULL,
  sealed BLOB NOT NULL,
  fingerprint TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  signs_from_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  removed_at INTEGER
) STRICT, WITHOUT ROWID;

-- A credential serves one way of authentication. mtls: `sealed` holds certificate chain and key together.
ALTER TABLE webhook_credentials ADD COLUMN auth_method TEXT NOT NULL DEFAULT 'bearer_token'
  CHECK (auth_method IN ('bearer_token', 'mtls'));
-- From then on it is not used any more, not even to fall back on.
ALTER TABLE webhook_credentials ADD COLUMN retires_at INTEGER;
-- for: retired_certificates
CREATE INDEX webhook_credentials_retiring ON webhook_credentials (retires_at) WHERE retires_at IS NOT NULL;

-- What may be shown of a certificate; stays when its key is gone.
CREATE TABLE webhook_certificates (
  account_id TEXT NOT NULL,
  webhook_id TEXT NOT NULL,
  id TEXT NOT NULL,
  authority_id TEXT NOT NULL,
  serial TEXT NOT NULL,
  fingerprint TEXT NOT NULL,
  chain BLOB NOT NULL,
  not_before_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  accepted_at INTEGER,
  replaced_at INTEGER,
  retires_at INTEGER,
  noticed_days INTEGER,
  PRIMARY KEY (account_id, webhook_id, id)
) STRICT, WITHOUT ROWID;
-- for: expiring_certificates
CREATE INDEX webhook_certificates_expiry ON webhook_certificates (expires_at, id) WHERE replaced_at IS NULL;

-- What there is to say of an attempt beside its outcome, such as that another certificate was refused first.
ALTER TABLE attempts ADD COLUMN note TEXT;
