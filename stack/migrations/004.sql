-- What release v3 keeps besides: who a couple are, and the tax in an order.
CREATE TABLE couples (
    submission_id uuid PRIMARY KEY REFERENCES submissions (id),
    names text NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now()
);
ALTER TABLE orders ADD COLUMN tax integer CHECK (tax >= 0);
