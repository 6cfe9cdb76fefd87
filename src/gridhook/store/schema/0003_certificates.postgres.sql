-- Certificates that we issue and present, for PostgreSQL. Text sorts by its bytes.

CREATE TABLE authorities (
  id TEXT COLLATE "C" PRIMARY KEY,
  certificate BYTEA NOT NULL,
  sealed BYTEA NOT NULL,
  fingerprint TEXT COLLATE "C" NOT NULL,
  created_at BIGINT NOT NULL,
  signs_from_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL,
  removed_at BIGINT
);

-- A credential serves one way of authentication. mtls: `sealed` holds certificate chain and key together.
ALTER TABLE webhook_credentials ADD COLUMN auth_method TEXT COLLATE "C" NOT NULL DEFAULT 'bearer_token'
  CHECK (auth_method IN ('bearer_token', 'mtls'));
-- From then on it is not used any more, not even to fall back on.
ALTER TABLE webhook_credentials ADD COLUMN retires_at BIGINT;
-- for: retired_certificates
CREATE INDEX webhook_credentials_retiring ON webhook_credentials (retires_at) WHERE retires_at IS NOT NULL;

-- What may be shown of a certificate; stays when its key is gone.
CREATE TABLE webhook_certificates (
  account_id TEXT COLLATE "C" NOT NULL,
  webhook_id TEXT COLLATE "C" NOT NULL,
  id TEXT COLLATE "C" NOT NULL,
  authority_id TEXT COLLATE "C" NOT NULL,
  serial TEXT COLLATE "C" NOT NULL,
  fingerprint TEXT COLLATE "C" NOT NULL,
  chain BYTEA NOT NULL,
  not_before_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL,
  created_at BIGINT NOT NULL,
  accepted_at BIGINT,
  replaced_at BIGINT,
  retires_at BIGINT,
  noticed_days BIGINT,
  PRIMARY KEY (account_id, webhook_id, id)
);
-- for: expiring_certificates
CREATE INDEX webhook_certificates_expiry ON webhook_certificates (expires_at, id) WHERE replaced_at IS NULL;

-- What there is to say of an attempt beside its outcome, such as that another certificate was refused first.
ALTER TABLE attempts ADD COLUMN note TEXT COLLATE "C";
