ALTER TABLE suppliers RENAME COLUMN trading_name TO name;
