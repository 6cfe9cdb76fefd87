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
