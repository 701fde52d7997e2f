CREATE TABLE users (
    id int AUTO_INCREMENT PRIMARY KEY,
    name varchar(200) NOT NULL,
    email varchar(200) NOT NULL UNIQUE,
    telephone varchar(60),
    api_token char(40)
);
CREATE TABLE editions (
    id int AUTO_INCREMENT PRIMARY KEY,
    title varchar(200) NOT NULL,
    body text NOT NULL,
    state varchar(20) NOT NULL,
    access_limited boolean NOT NULL DEFAULT false,
    creator_id int NOT NULL,
    words int AS (CHAR_LENGTH(body) - CHAR_LENGTH(REPLACE(body, ' ', '')) + 1) STORED,
    KEY by_state (state, access_limited),
    FULLTEXT KEY by_title (title),
    CONSTRAINT created_by FOREIGN KEY (creator_id) REFERENCES users (id)
);
CREATE TABLE editorial_remarks (
    id int AUTO_INCREMENT PRIMARY KEY,
    edition_id int NOT NULL,
    author_id int NOT NULL,
    body text NOT NULL,
    CONSTRAINT remark_on FOREIGN KEY (edition_id) REFERENCES editions (id) ON DELETE CASCADE,
    CONSTRAINT remark_by FOREIGN KEY (author_id) REFERENCES users (id)
);
CREATE TABLE fact_checks (
    id int AUTO_INCREMENT PRIMARY KEY,
    edition_id int NOT NULL,
    email_address varchar(200) NOT NULL,
    comments text,
    CONSTRAINT check_of FOREIGN KEY (edition_id) REFERENCES editions (id) ON DELETE CASCADE
);
CREATE SQL SECURITY INVOKER VIEW published_editions AS SELECT id, title, words FROM editions WHERE state = 'published';
