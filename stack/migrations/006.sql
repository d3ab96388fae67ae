-- What the accountants of release v3 look at.
CREATE INDEX suppliers_by_trading_name ON suppliers (lower(trading_name));
CREATE VIEW takings AS
    SELECT currency, count(*) AS orders, sum(amount) AS amount, sum(tax) AS tax
    FROM orders GROUP BY currency;
