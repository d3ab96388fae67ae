-- Payments: an order is charged at most once, a webhook event handled at most once.
CREATE TABLE orders (
    id text PRIMARY KEY,
    amount integer NOT NULL CHECK (amount > 0),
    currency text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE payments (
    id uuid PRIMARY KEY,
    order_id text NOT NULL UNIQUE REFERENCES orders (id),
    payment_intent text UNIQUE,
    -- What Stripe answered when asked to take the money; null while that is unknown.
    stripe_status text,
    status text NOT NULL DEFAULT 'processing'
        CHECK (status IN ('processing', 'paid', 'declined')),
    paid_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE webhook_events (
    id text PRIMARY KEY,
    type text NOT NULL,
    handled_at timestamptz NOT NULL DEFAULT now()
);
