-- A table with a column of each type, and awkward values in it.
CREATE TYPE mood AS ENUM ('glad', 'it''s "so, so"');
CREATE TYPE place AS (street text, number int);
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE TABLE "Guest List" (
    "The Id" bigint GENERATED ALWAYS AS IDENTITY, kind text,
    PRIMARY KEY ("The Id", kind),
    m mood, ms mood[], j jsonb, js json, b bytea, a int[][], t text[], n numeric,
    n2 numeric(8,2), f float8, r real, ts timestamptz, tz timestamp, d date, ti interval,
    c place, cs place[], p positive, u uuid, ok bool, ch char(5), vc varchar(9),
    i inet, ra int4range, big text, "Odd ""Name" text, bits bit(3),
    g int GENERATED ALWAYS AS (length(kind)) STORED
);
INSERT INTO "Guest List" (kind, m, ms, j, js, b, a, t, n, n2, f, r, ts, tz, d, ti, c, cs,
    p, u, ok, ch, vc, i, ra, big, "Odd ""Name", bits) VALUES
 ('a', 'glad', '{glad,NULL}', '{"a": [1, null, "x"]}', '{"b" :  2}', '\x00ff', '[2:3][1:1]={{1},{2}}',
  '{"a,b","","NULL",NULL,"{}"}', 'NaN', 1234.50, '-0', 'Infinity',
  '0044-03-15 12:00:00.000001+00 BC', 'infinity', '-infinity', '1 mon -2 days +03:04:05.678',
  '("a, ""b""",)', '{"(x,1)",NULL}', 7, gen_random_uuid(), true, 'ab', 'x ', '10.0.0.1/8',
  '[1,5)', repeat('wörld ', 200000), E'tab\t\nline\\', '101'),
 ('b', 'it''s "so, so"', '{}', 'null', 'null', '', '{}', '{}', 1e-30, -0.01, 'NaN', 1e-40,
  'infinity', '2024-02-29 23:59:59.999999', '2024-02-29', '-1 year',
  '(,)', '{}', 1, gen_random_uuid(), false, '', '', '::1', 'empty', '', '', '000'),
 ('c', NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0.30000000000000000004, NULL, 0.1, 0.1, NULL, NULL,
  NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
