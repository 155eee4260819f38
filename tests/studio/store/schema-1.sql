CREATE TABLE meta (
	"key" TEXT NOT NULL,
	value TEXT NOT NULL,
	PRIMARY KEY ("key")
);
CREATE TABLE jobs (
	seq INTEGER NOT NULL,
	job TEXT NOT NULL,
	account TEXT NOT NULL,
	"key" TEXT NOT NULL,
	request BLOB NOT NULL,
	spec BLOB NOT NULL,
	work BLOB NOT NULL,
	prompt TEXT NOT NULL,
	lane TEXT NOT NULL,
	asked_lane TEXT NOT NULL,
	private BOOLEAN NOT NULL,
	preview_every INTEGER NOT NULL,
	state TEXT NOT NULL,
	note TEXT NOT NULL,
	reason TEXT NOT NULL,
	failure TEXT NOT NULL,
	made_ms INTEGER NOT NULL,
	started_ms INTEGER NOT NULL,
	ended_ms INTEGER NOT NULL,
	charged_ms INTEGER NOT NULL,
	last_event INTEGER NOT NULL,
	steps INTEGER NOT NULL,
	step INTEGER NOT NULL,
	deleted BOOLEAN NOT NULL,
	PRIMARY KEY (seq),
	UNIQUE (account, "key"),
	UNIQUE (job)
);
CREATE INDEX jobs_of_account ON jobs (account, seq);
CREATE INDEX jobs_in_state ON jobs (state, seq);
CREATE TABLE pictures (
	job TEXT NOT NULL,
	"index" INTEGER NOT NULL,
	digest TEXT NOT NULL,
	size INTEGER NOT NULL,
	width INTEGER NOT NULL,
	height INTEGER NOT NULL,
	media_type TEXT NOT NULL,
	recipe TEXT,
	PRIMARY KEY (job, "index"),
	FOREIGN KEY(job) REFERENCES jobs (job)
);
CREATE INDEX ix_pictures_digest ON pictures (digest);
CREATE TABLE accounts (
	account TEXT NOT NULL,
	name TEXT NOT NULL,
	role TEXT NOT NULL,
	"plan" TEXT,
	anchor_ms INTEGER NOT NULL,
	blocked BOOLEAN NOT NULL,
	made_ms INTEGER NOT NULL,
	quota_bytes INTEGER NOT NULL,
	PRIMARY KEY (account)
);
CREATE TABLE entries (
	seq INTEGER NOT NULL,
	at_ms INTEGER NOT NULL,
	account TEXT NOT NULL,
	kind TEXT NOT NULL,
	amount_ms INTEGER NOT NULL,
	"grant" INTEGER NOT NULL,
	job TEXT NOT NULL,
	last INTEGER NOT NULL,
	source TEXT,
	expires_ms INTEGER NOT NULL,
	use_ms INTEGER NOT NULL,
	relax_ms INTEGER NOT NULL,
	PRIMARY KEY (seq)
);
CREATE INDEX entries_of_account ON entries (account, seq);
INSERT INTO meta VALUES ('schema_version', '1'), ('life', '3');
INSERT INTO jobs VALUES
	(1, 'one', 'a', 'k1', '', '', '', 'a red apple', 'fast', 'fast', '0', 0, 'done', '', '', '', 1, 2, 3, 4, 5, 6, 7, '0'),
	(2, 'two', 'b', 'k1', '', '', '', 'a cat', 'fast', 'fast', '1', 0, 'queued', '', '', '', 1, 0, 0, 0, 1, 6, 0, '0'),
	(3, 'three', 'a', 'k3', '', '', '', 'a house', 'fast', 'fast', '0', 0, 'done', '', '', '', 1, 2, 3, 4, 5, 6, 7, '0');
INSERT INTO pictures VALUES
	('one', -1, 'aa', 100, 1, 1, 'image/png', NULL),
	('one', 0, 'bb', 20, 1, 1, 'image/png', '{}'),
	('three', 0, 'bb', 20, 1, 1, 'image/png', NULL);
INSERT INTO accounts VALUES ('a', '', 'user', NULL, 0, '0', 0, 0);
INSERT INTO entries VALUES (1, 1, 'a', 'grant', 1000, 1, '', 1, 'bought', 9000000000, 0, 0);
