-- A supplier trades under a name. Releases v1 and v2 do NOT run on this schema: they ask
-- for the column by its former name.
ALTER TABLE suppliers RENAME COLUMN name TO trading_name;
