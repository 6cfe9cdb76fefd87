-- An account's certificates are found by when they end, without a walk past all of its others, whose chains lie in the same pages.

-- for: expiring_of_account
CREATE INDEX webhook_certificates_account_expiry ON webhook_certificates (account_id, expires_at) WHERE replaced_at IS NULL;
