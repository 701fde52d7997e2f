-- The database that benchmarks/mysql.py copies, made by the server alone and the same each time. {scale} is 1.0 for
-- about 1 GB of SQL: 1,300,000 email addresses, emails that were sent to them (two thirds of all), editions; and 9
-- secondary indexes.

-- Text that compresses as an application's does: words out of a small dictionary, and whole sentences that come
-- again.
CREATE TEMPORARY TABLE words (number int PRIMARY KEY, word varchar(20));
INSERT INTO words VALUES
    (0, 'the'), (1, 'of'), (2, 'and'), (3, 'guidance'), (4, 'published'), (5, 'updated'), (6, 'change'), (7, 'page'),
    (8, 'email'), (9, 'subscription'), (10, 'government'), (11, 'service'), (12, 'licence'), (13, 'passport'),
    (14, 'vehicle'), (15, 'tax'), (16, 'benefit'), (17, 'through'), (18, 'should'), (19, 'because'), (20, 'each'),
    (21, 'people'), (22, 'little'), (23, 'state'), (24, 'good'), (25, 'very'), (26, 'world'), (27, 'still'),
    (28, 'between'), (29, 'both'), (30, 'life'), (31, 'being'), (32, 'under'), (33, 'never'), (34, 'day'),
    (35, 'same'), (36, 'another'), (37, 'know'), (38, 'while'), (39, 'last'), (40, 'might');
CREATE TEMPORARY TABLE sentences (number int PRIMARY KEY, text varchar(400));
INSERT INTO sentences
SELECT n.seq, CONCAT(GROUP_CONCAT(word ORDER BY k.seq SEPARATOR ' '), '.')
FROM seq_0_to_299 n JOIN seq_1_to_18 k JOIN words ON number = CRC32(n.seq * 1000 + k.seq) % 41
GROUP BY n.seq;
-- A temporary table can be named once in a statement.
CREATE TEMPORARY TABLE paragraphs (number int PRIMARY KEY, subject varchar(60), text text);
INSERT INTO paragraphs SELECT number, LEFT(text, 60), text FROM sentences;
UPDATE paragraphs p JOIN sentences s ON s.number = p.number * 31 % 300 SET p.text = CONCAT(p.text, ' ', s.text);
UPDATE paragraphs p JOIN sentences s ON s.number = p.number * 17 % 299 SET p.text = CONCAT(p.text, ' ', s.text);
UPDATE paragraphs p JOIN sentences s ON s.number = p.number * 101 % 297 SET p.text = CONCAT(p.text, ' ', s.text);

CREATE TABLE subscribers (
    id bigint NOT NULL AUTO_INCREMENT PRIMARY KEY,
    address varchar(255) NOT NULL,
    signon_user_uid char(36),
    created_at datetime(6) NOT NULL,
    updated_at datetime(6) NOT NULL,
    UNIQUE KEY subscribers_address (address),
    KEY subscribers_signon_user_uid (signon_user_uid),
    KEY subscribers_created_at (created_at)
) ENGINE=InnoDB;
INSERT INTO subscribers
SELECT seq, CONCAT('person.', LEFT(MD5(seq), 8), seq, '@mail-', seq % 97, '.example'),
    IF(seq % 5 = 0, MD5(CONCAT('user', seq)), NULL), '2026-01-01' - INTERVAL seq * 97 SECOND,
    '2026-01-01' - INTERVAL seq * 13 SECOND
FROM seq_1_to_100000000 WHERE seq <= 1300000 * {scale};

CREATE TABLE emails (
    id bigint NOT NULL AUTO_INCREMENT PRIMARY KEY,
    subscriber_id bigint NOT NULL,
    status int NOT NULL,
    subject varchar(100) NOT NULL,
    body text NOT NULL,
    created_at datetime(6) NOT NULL,
    KEY emails_subscriber_id (subscriber_id),
    KEY emails_created_at (created_at),
    KEY emails_status_created_at (status, created_at),
    CONSTRAINT emails_subscriber FOREIGN KEY (subscriber_id) REFERENCES subscribers (id) ON DELETE CASCADE
) ENGINE=InnoDB;
INSERT INTO emails
SELECT seq, 1 + seq * 7919 % FLOOR(1300000 * {scale}), seq % 4, subject, text, '2026-01-01' - INTERVAL seq * 61 SECOND
FROM seq_1_to_100000000 JOIN paragraphs ON number = seq * 31 % 300 WHERE seq <= 1000000 * {scale};

CREATE TABLE editions (
    id bigint NOT NULL AUTO_INCREMENT PRIMARY KEY,
    content_id char(36) NOT NULL,
    base_path varchar(200) NOT NULL,
    state varchar(20) NOT NULL,
    details text NOT NULL,
    updated_at datetime(6) NOT NULL,
    UNIQUE KEY editions_content_id (content_id),
    KEY editions_base_path (base_path),
    KEY editions_state_updated_at (state, updated_at)
) ENGINE=InnoDB;
INSERT INTO editions
SELECT seq, MD5(CONCAT('edition', seq)), CONCAT('/guidance/', REPLACE(LEFT(subject, 40), ' ', '-'), seq),
    ELT(1 + seq % 3, 'draft', 'published', 'superseded'),
    CONCAT('{"title": "', subject, '", "tags": ', seq % 7, ', "body": "', text, '"}'),
    '2026-01-01' - INTERVAL seq * 301 SECOND
FROM seq_1_to_100000000 JOIN paragraphs ON number = seq * 37 % 300 WHERE seq <= 300000 * {scale};
