-- The timeline of release v2. Release v1 runs on this schema too: the column may be null.
ALTER TABLE submissions ADD COLUMN wedding_date date;
CREATE INDEX submissions_by_wedding_date ON submissions (wedding_date)
    WHERE wedding_date IS NOT NULL;
