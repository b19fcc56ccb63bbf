BEGIN TRANSACTION;
CREATE TABLE accounts (
	user_id INTEGER NOT NULL, 
	created_at BIGINT NOT NULL, 
	verified_at BIGINT, 
	disabled_at BIGINT, 
	password_changed_at BIGINT NOT NULL, 
	PRIMARY KEY (user_id), 
	FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE
);
INSERT INTO "accounts" VALUES(1,1795000000,1795000100,NULL,1795000000);
INSERT INTO "accounts" VALUES(2,1795000100,NULL,NULL,1795000100);
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('1.1');
CREATE TABLE attempts (
	"key" VARCHAR(64) NOT NULL, 
	failures INTEGER NOT NULL, 
	first_at BIGINT NOT NULL, 
	blocked_until BIGINT NOT NULL, 
	expires_at BIGINT NOT NULL, 
	PRIMARY KEY ("key")
);
INSERT INTO "attempts" VALUES('4ab9df18ab2e8e6c4dad9ebf70e3808d92b969eb9a5e742bbbc5b68ce999922b',2,1795000000,0,1795003600);
INSERT INTO "attempts" VALUES('edcdf4a11d6e7d4422142102196c3c89ef9434cfafed70536fd09ac92af5336d',1,1795000100,0,1795003700);
INSERT INTO "attempts" VALUES('4995b343d019a43ed93293d5760a579d7d10b895d20226cbdd50c301714e51ea',1,1795000200,0,1795003800);
INSERT INTO "attempts" VALUES('3350e3027c3f19b7f789b0e8cb113a3118051ef84662359c3ae37d58db13f7fb',0,1795000200,0,1795000500);
INSERT INTO "attempts" VALUES('5f73a43efac98d401d66be82e925d7aacf8006cbc7e2e9d5c3b7193703aa05be',1,1795000300,0,1795000600);
INSERT INTO "attempts" VALUES('0eaecb716990b29ec07c476417018ae5cc0265dce835cf1c8a069b3c0c7130d3',1,1795000300,1795000300,1797592300);
INSERT INTO "attempts" VALUES('b21e6acae3ba238ee36a7f0b219e6204a8f10f0971f303073deb3367b915f8c1',1,1795000300,0,1795003900);
CREATE TABLE audit (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	at BIGINT NOT NULL, 
	fact VARCHAR(32) NOT NULL, 
	user_id INTEGER, 
	network VARCHAR(64) NOT NULL, 
	request_id VARCHAR(64) NOT NULL, 
	detail VARCHAR(250) NOT NULL
);
INSERT INTO "audit" VALUES(1,1795000000,'account.created',1,'203.0.113.7','request-1','');
INSERT INTO "audit" VALUES(2,1795000100,'email.verified',1,'203.0.113.7','request-1','');
INSERT INTO "audit" VALUES(3,1795000100,'account.created',2,'203.0.113.7','request-1','');
INSERT INTO "audit" VALUES(4,1795000200,'session.opened',1,'203.0.113.7','request-2','');
INSERT INTO "audit" VALUES(5,1795000300,'login.refused',2,'198.51.100.4','request-3','');
INSERT INTO "audit" VALUES(6,1795000300,'reset.requested',NULL,'','','');
INSERT INTO "audit" VALUES(7,1795000300,'reset.requested',NULL,'','','');
CREATE TABLE devices (
	digest VARCHAR(64) NOT NULL, 
	user_id INTEGER NOT NULL, 
	seen_at BIGINT NOT NULL, 
	PRIMARY KEY (digest), 
	FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE
);
INSERT INTO "devices" VALUES('a789b426e901ac4ad2e312632dedb9b88d44db881f0c2c18f092eb25270c013e',1,1795000100);
INSERT INTO "devices" VALUES('867c219e1e52ca699acbaf4683c7691e0a1dca60fd48ba6dc513d4062918e5b0',1,1795000200);
CREATE TABLE mail_tokens (
	digest VARCHAR(64) NOT NULL, 
	user_id INTEGER NOT NULL, 
	purpose VARCHAR(16) NOT NULL, 
	email VARCHAR(250) NOT NULL, 
	expires_at BIGINT NOT NULL, 
	PRIMARY KEY (digest), 
	FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE
);
INSERT INTO "mail_tokens" VALUES('dfa22250dd1b198a20fb1aebe67f7c42d6bb59dbb76b2ae37944d4440c9fd69a',2,'verify','eve@me.com',1795086600);
INSERT INTO "mail_tokens" VALUES('0aa8092e60add7ec48c7263474fd3e88192e21ccdd840d6fba9612f4993dbb74',1,'reset','bob@me.com',1795003900);
CREATE TABLE outbox (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	purpose VARCHAR(32) NOT NULL, 
	user_id INTEGER, 
	email VARCHAR(250) NOT NULL, 
	detail VARCHAR(250) NOT NULL, 
	queued_at BIGINT NOT NULL, 
	due_at BIGINT, 
	tries INTEGER NOT NULL, 
	FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE
);
INSERT INTO "outbox" VALUES(4,'reset',NULL,'eve@me.com','',1795000300,1795000300,0);
CREATE TABLE sessions (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	user_id INTEGER NOT NULL, 
	digest VARCHAR(64) NOT NULL, 
	opened_at BIGINT NOT NULL, 
	seen_at BIGINT NOT NULL, 
	expires_at BIGINT NOT NULL, 
	user_agent VARCHAR(250) NOT NULL, 
	network VARCHAR(64) NOT NULL, 
	FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE, 
	UNIQUE (digest)
);
INSERT INTO "sessions" VALUES(1,1,'02a7ceb2d626b150ec48bc72a477bc4fd4bf527d4754f5ca765877025a754d80',1795000200,1795000200,1797592200,'laptop','203.0.113.7');
CREATE TABLE users (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	email VARCHAR(250) NOT NULL, 
	hashed_password VARCHAR(250) NOT NULL, 
	session_id VARCHAR(250), 
	reset_token VARCHAR(250), 
	UNIQUE (email)
);
INSERT INTO "users" VALUES(1,'bob@me.com','$2b$04$SoBmyHjIyccybsLt1ODJ7OisjdWTNmBomdKMotAjVRlGwxnoeXI8a','02a7ceb2d626b150ec48bc72a477bc4fd4bf527d4754f5ca765877025a754d80','0aa8092e60add7ec48c7263474fd3e88192e21ccdd840d6fba9612f4993dbb74');
INSERT INTO "users" VALUES(2,'eve@me.com','$2b$04$CIZngxrwowWt/xdqAAUbK.GSVvtFuobQM.7XkEKrY338wUVGKr56S',NULL,NULL);
CREATE INDEX ix_sessions_user_id ON sessions (user_id);
CREATE INDEX ix_mail_tokens_user_id ON mail_tokens (user_id);
CREATE INDEX ix_devices_user_id ON devices (user_id);
CREATE INDEX ix_outbox_user_id ON outbox (user_id);
CREATE INDEX ix_outbox_email ON outbox (email);
CREATE INDEX ix_outbox_due_at ON outbox (due_at);
CREATE INDEX ix_attempts_expires_at ON attempts (expires_at);
CREATE INDEX ix_audit_user_id ON audit (user_id);
CREATE INDEX ix_audit_at ON audit (at);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('users',2);
INSERT INTO "sqlite_sequence" VALUES('outbox',4);
INSERT INTO "sqlite_sequence" VALUES('audit',7);
INSERT INTO "sqlite_sequence" VALUES('sessions',1);
COMMIT;
