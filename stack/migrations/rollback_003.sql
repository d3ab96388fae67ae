DROP INDEX submissions_by_wedding_date;
ALTER TABLE submissions DROP COLUMN wedding_date;
