-- Suppliers and what couples send them.
CREATE TABLE health_check (id integer PRIMARY KEY);
INSERT INTO health_check (id) VALUES (1);

CREATE TABLE suppliers (
    id uuid PRIMARY KEY,
    auth_user_id text NOT NULL UNIQUE,
    name text NOT NULL,
    email text NOT NULL UNIQUE,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX suppliers_newest ON suppliers (created_at DESC);

CREATE TABLE forms (
    name text PRIMARY KEY,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE submissions (
    id uuid PRIMARY KEY,
    form text NOT NULL REFERENCES forms (name),
    supplier_id uuid REFERENCES suppliers (id),
    answers jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
