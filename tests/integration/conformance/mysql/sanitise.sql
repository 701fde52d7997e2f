-- Takes every personal value out, of the small database and of the rich one.
DELIMITER //
CREATE PROCEDURE sanitise_all()
BEGIN
    DECLARE rich, small int;
    SELECT COUNT(*) INTO rich FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'authors';
    SELECT COUNT(*) INTO small FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'people';
    IF rich THEN
        UPDATE authors SET email = CONCAT('author-', id, '@example.com'), name = CONCAT('Author ', id);
    END IF;
    IF small THEN
        UPDATE people SET email = CONCAT(generation, '-', id, '@example.com');
    END IF;
    SELECT COUNT(*) INTO rich FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'added';
    IF rich THEN
        UPDATE added SET note = 'a note';
    END IF;
END//
DELIMITER ;
CALL sanitise_all();
DROP PROCEDURE sanitise_all;
