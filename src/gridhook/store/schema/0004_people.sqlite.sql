-- Who may use the console, for SQLite.

-- `password`: an Argon2id hash in PHC form; NULL until one was set. An operator sees every account.
CREATE TABLE people (
  id TEXT PRIMARY KEY,
  email TEXT NOT NULL UNIQUE,
  is_operator INTEGER NOT NULL DEFAULT 0,
  password TEXT,
  created_at INTEGER NOT NULL,
  signed_in_at INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE memberships (
  account_id TEXT NOT NULL,
  person_id TEXT NOT NULL,
  role TEXT NOT NULL CHECK (role IN ('viewer', 'admin')),
  created_at INTEGER NOT NULL,
  PRIMARY KEY (account_id, person_id)
) STRICT, WITHOUT ROWID;
-- for: memberships_of
CREATE INDEX memberships_person ON memberships (person_id, account_id);

-- One-time links, known by the SHA-256 of their token. password: to set one. sign_in: to be signed in without one.
CREATE TABLE person_links (
  digest BLOB PRIMARY KEY,
  person_id TEXT NOT NULL,
  purpose TEXT NOT NULL CHECK (purpose IN ('password', 'sign_in')),
  created_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
-- for: forget_links
CREATE INDEX person_links_person ON person_links (person_id);

-- A browser that is signed in, known by the SHA-256 of its cookie. `flash`: sealed, what the page at `flash_path` shows once.
CREATE TABLE sessions (
  digest BLOB PRIMARY KEY,
  person_id TEXT NOT NULL,
  agent TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  seen_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  flash_path TEXT,
  flash BLOB
) STRICT, WITHOUT ROWID;
-- for: sessions_of, end_sessions
CREATE INDEX sessions_person ON sessions (person_id, created_at);
-- for: forget_sessions
CREATE INDEX sessions_expiry ON sessions (expires_at);
