"""What is asked of PostgreSQL's catalogue: relations, and what belongs to them.

Every part gives kind, object, detail, identity, parent, shape and elsewhere. Names are
qualified and quoted, as `search_path` is empty while they are read. No owner is among
the details (a copy has another one), no OID, no column's position. Of functions and
views only a hash is shown: their text may hold what nobody else is to read.
"""

__all__ = ["BEGINNING", "RELATIONS"]

BEGINNING = """
WITH spaces AS MATERIALIZED (
  SELECT oid, quote_ident(nspname) AS name, nspacl, nspowner,
         nspname = ANY (%(schemas)s) AS own
    FROM pg_namespace
   WHERE nspname !~ '^pg_' AND nspname NOT IN ('information_schema', 'rollback')
), extended AS MATERIALIZED (
  SELECT classid, objid FROM pg_depend
   WHERE deptype = 'e' OR deptype = 'i' AND classid = 'pg_proc'::regclass
), relations AS MATERIALIZED (
  SELECT c.*, s.own, s.name || '.' || quote_ident(c.relname) AS object,
         'pg_class:' || c.oid AS identity
    FROM pg_class c JOIN spaces s ON s.oid = c.relnamespace
   WHERE c.relkind IN ('r', 'p', 'f', 'v', 'm', 'S') AND NOT EXISTS (
         SELECT FROM extended e WHERE e.classid = 'pg_class'::regclass
            AND e.objid = c.oid)
)
"""

_TABLES = """
SELECT CASE relkind WHEN 'f' THEN 'foreign table' ELSE 'table' END, object,
  concat_ws('; ',
    CASE relpersistence WHEN 'u' THEN 'unlogged' END,
    'partitioned by ' || pg_get_partkeydef(r.oid),
    pg_get_expr(relpartbound, r.oid),
    'inherits ' || (SELECT string_agg(inhparent::regclass::text, ', ' ORDER BY inhseqno)
                      FROM pg_inherits WHERE inhrelid = r.oid),
    'of ' || nullif(reloftype, 0)::regtype::text,
    CASE WHEN relrowsecurity THEN 'row security' END,
    CASE WHEN relforcerowsecurity THEN 'row security forced' END,
    'with ' || (SELECT string_agg(o, ', ' ORDER BY o) FROM unnest(reloptions) o),
    'toast with ' || (SELECT string_agg(o, ', ' ORDER BY o)
                        FROM pg_class t, unnest(t.reloptions) o
                       WHERE t.oid = reltoastrelid),
    'using ' || (SELECT amname FROM pg_am WHERE oid = relam AND amname <> 'heap'),
    CASE relreplident WHEN 'f' THEN 'replica identity full'
      WHEN 'n' THEN 'replica identity nothing'
      WHEN 'i' THEN 'replica identity ' || (SELECT indexrelid::regclass::text
        FROM pg_index WHERE indrelid = r.oid AND indisreplident) END,
    (SELECT 'server ' || quote_ident(srvname) || coalesce(' ' || (
              SELECT string_agg(o, ', ' ORDER BY o) FROM unnest(ftoptions) o), '')
       FROM pg_foreign_table JOIN pg_foreign_server s ON s.oid = ftserver
      WHERE ftrelid = r.oid)),
  identity, NULL, NULL, false
  FROM relations r WHERE own AND relkind IN ('r', 'p', 'f')
"""
# Where the shape differs, values are converted: also those of a composite type that has
# lost an attribute.
_COLUMNS = """
SELECT CASE r.relkind WHEN 'f' THEN 'foreign column' ELSE 'column' END,
  r.object || '.' || quote_ident(attname),
  concat_ws(' ', format_type(atttypid, atttypmod),
    CASE WHEN attcollation <> typcollation
         THEN 'collate ' || attcollation::regcollation END,
    CASE WHEN attnotnull THEN 'not null' END,
    CASE attgenerated
      WHEN '' THEN 'default ' || pg_get_expr(adbin, adrelid)
      WHEN 's' THEN 'stored as (' || pg_get_expr(adbin, adrelid) || ')'
      ELSE 'virtual as (' || pg_get_expr(adbin, adrelid) || ')' END,
    CASE attidentity WHEN 'a' THEN 'identity' WHEN 'd' THEN 'identity by default' END,
    CASE WHEN attstorage <> typstorage THEN 'storage ' || attstorage::text END,
    'compression ' || nullif(attcompression::text, ''),
    'statistics ' || nullif(attstattarget, -1),
    'with ' || (SELECT string_agg(o, ', ' ORDER BY o) FROM unnest(attoptions) o),
    'options ' || (SELECT string_agg(o, ', ' ORDER BY o) FROM unnest(attfdwoptions) o)),
  r.identity || ':' || attnum, r.identity,
  concat_ws('.', atttypid, atttypmod, (
    SELECT string_agg(f.attnum || ' ' || f.atttypid, ',' ORDER BY f.attnum)
      FROM pg_type e JOIN pg_attribute f ON f.attrelid = e.typrelid
     WHERE e.oid = CASE WHEN t.typtype = 'c' THEN t.oid ELSE nullif(t.typelem, 0) END
       AND e.typtype = 'c' AND f.attnum > 0 AND NOT f.attisdropped)),
  false
  FROM relations r JOIN pg_attribute a ON attrelid = r.oid
  JOIN pg_type t ON t.oid = atttypid
  LEFT JOIN pg_attrdef ON adrelid = r.oid AND adnum = attnum
 WHERE r.own AND r.relkind IN ('r', 'p', 'f') AND attnum > 0 AND NOT attisdropped
"""
# That values of other schemas are destroyed must be seen, and nothing else of them.
_ELSEWHERE = """
SELECT 'table', object, '', identity, NULL, NULL, true
  FROM relations WHERE NOT own AND relkind IN ('r', 'p')
UNION ALL
SELECT 'column', object || '.' || quote_ident(attname), '',
  identity || ':' || attnum, identity, concat_ws('.', atttypid, atttypmod), true
  FROM relations r JOIN pg_attribute ON attrelid = r.oid
 WHERE NOT own AND relkind IN ('r', 'p') AND attnum > 0 AND NOT attisdropped
"""
# Constraints NOT NULL are a detail of their column: before version 18 they had no name.
_CONSTRAINTS = """
SELECT 'constraint', object || '.' || quote_ident(conname),
  pg_get_constraintdef(k.oid), 'pg_constraint:' || k.oid, identity, NULL, false
  FROM relations r JOIN pg_constraint k ON conrelid = r.oid
 WHERE own AND contype IN ('p', 'u', 'x', 'c', 'f') AND conparentid = 0
   AND (conislocal OR NOT relispartition)
"""
_INDEXES = """
SELECT 'index', (SELECT name FROM spaces WHERE oid = x.relnamespace) || '.'
    || quote_ident(x.relname),
  pg_get_indexdef(x.oid) || CASE WHEN indisvalid THEN '' ELSE ' (invalid)' END
    || CASE WHEN indisclustered THEN ' (clustered)' ELSE '' END,
  'pg_class:' || x.oid, r.identity, NULL, false
  FROM relations r JOIN pg_index i ON indrelid = r.oid
  JOIN pg_class x ON x.oid = indexrelid
 WHERE r.own AND NOT x.relispartition AND NOT EXISTS (
       SELECT FROM pg_constraint WHERE conindid = x.oid AND contype IN ('p', 'u', 'x')
          AND conrelid = r.oid)
"""
_VIEWS = """
SELECT CASE relkind WHEN 'v' THEN 'view' ELSE 'materialized view' END, object,
  concat_ws('; ',
    (SELECT string_agg(quote_ident(attname) || ' ' || format_type(atttypid, atttypmod),
                       ', ' ORDER BY attnum)
       FROM pg_attribute WHERE attrelid = r.oid AND attnum > 0 AND NOT attisdropped),
    'with ' || (SELECT string_agg(o, ', ' ORDER BY o) FROM unnest(reloptions) o),
    'definition ' || md5(pg_get_viewdef(r.oid))),
  identity, NULL, NULL, false
  FROM relations r WHERE own AND relkind IN ('v', 'm')
"""
_SEQUENCES = """
SELECT 'sequence', object,
  concat_ws(' ', seqtypid::regtype, 'from', seqstart, 'by', seqincrement, 'in', seqmin,
    'to', seqmax, 'cache', seqcache, CASE WHEN seqcycle THEN 'cycle' END, owner.said),
  r.identity, owner.identity, NULL, false
  FROM relations r JOIN pg_sequence ON seqrelid = r.oid
  LEFT JOIN LATERAL (
    SELECT 'of ' || refobjid::regclass || '.' || quote_ident(attname) AS said,
           'pg_class:' || refobjid || ':' || refobjsubid AS identity
      FROM pg_depend JOIN pg_attribute ON attrelid = refobjid AND attnum = refobjsubid
     WHERE classid = 'pg_class'::regclass AND objid = r.oid AND deptype IN ('a', 'i')
       AND refclassid = 'pg_class'::regclass
  ) owner ON true
 WHERE own
"""
_TRIGGERS = """
SELECT 'trigger', object || '.' || quote_ident(tgname),
  pg_get_triggerdef(t.oid) || CASE tgenabled WHEN 'O' THEN ''
    WHEN 'D' THEN ' (disabled)' WHEN 'A' THEN ' (always)' ELSE ' (replica)' END,
  'pg_trigger:' || t.oid, identity, NULL, false
  FROM relations r JOIN pg_trigger t ON tgrelid = r.oid
  JOIN pg_proc p ON p.oid = tgfoid
 WHERE own AND NOT tgisinternal AND tgparentid = 0
   AND pronamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname = 'rollback')
UNION ALL
SELECT 'rule', object || '.' || quote_ident(rulename), pg_get_ruledef(u.oid),
  'pg_rewrite:' || u.oid, identity, NULL, false
  FROM relations r JOIN pg_rewrite u ON ev_class = r.oid
 WHERE own AND rulename <> '_RETURN'
"""
_POLICIES = """
SELECT 'policy', object || '.' || quote_ident(polname),
  concat_ws(' ', CASE WHEN polpermissive THEN 'permissive' ELSE 'restrictive' END,
    CASE polcmd WHEN 'r' THEN 'select' WHEN 'a' THEN 'insert' WHEN 'w' THEN 'update'
      WHEN 'd' THEN 'delete' ELSE 'all' END,
    'to', (SELECT string_agg(coalesce(rolname, 'public'), ', ' ORDER BY rolname)
             FROM unnest(polroles) u LEFT JOIN pg_roles o ON o.oid = u),
    'using ' || pg_get_expr(polqual, polrelid),
    'check ' || pg_get_expr(polwithcheck, polrelid)),
  'pg_policy:' || p.oid, identity, NULL, false
  FROM relations r JOIN pg_policy p ON polrelid = r.oid WHERE own
UNION ALL
SELECT 'statistics', s.name || '.' || quote_ident(stxname),
  pg_get_statisticsobjdef(x.oid), 'pg_statistic_ext:' || x.oid,
  'pg_class:' || stxrelid, NULL, false
  FROM pg_statistic_ext x JOIN spaces s ON s.oid = stxnamespace WHERE own
"""

# Not a fact: which table is a partition of which.
_PARTS = """
SELECT 'part', object, '', identity, 'pg_class:' || inhparent, NULL, false
  FROM relations r JOIN pg_inherits ON inhrelid = r.oid
 WHERE own AND relispartition
"""

RELATIONS = (
    _TABLES,
    _COLUMNS,
    _ELSEWHERE,
    _CONSTRAINTS,
    _INDEXES,
    _VIEWS,
    _SEQUENCES,
    _TRIGGERS,
    _POLICIES,
    _PARTS,
)
