DROP VIEW takings;
DROP INDEX suppliers_by_trading_name;
