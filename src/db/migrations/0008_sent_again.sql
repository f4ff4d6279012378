-- A mail in doubt that a person had sent again keeps its Message-ID: it may have come already, and by the Message-ID the
-- second copy is known. So it is not folded into a later mail.

-- when that was decided the last time
ALTER TABLE digest_mail ADD COLUMN sent_again_at BIGINT;
