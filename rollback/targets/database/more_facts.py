"""What is asked of PostgreSQL's catalogue beside relations: types, rights and so on."""

__all__ = ["OTHERS", "SETS"]

_FUNCTIONS = """
SELECT CASE prokind WHEN 'p' THEN 'procedure' WHEN 'a' THEN 'aggregate'
    ELSE 'function' END,
  s.name || '.' || quote_ident(proname) || '('
    || pg_get_function_identity_arguments(p.oid) || ')',
  concat_ws('; ', 'returns ' || pg_get_function_result(p.oid), lanname,
    CASE WHEN prosecdef THEN 'security definer' END,
    'definition ' || md5(CASE prokind WHEN 'a' THEN (
      SELECT concat_ws(' ', aggtransfn, aggfinalfn, aggcombinefn, aggmtransfn,
               aggtranstype::regtype, agginitval, aggkind, aggsortop::regoperator)
        FROM pg_aggregate WHERE aggfnoid = p.oid)
      ELSE pg_get_functiondef(p.oid) END)),
  'pg_proc:' || p.oid, NULL, NULL, false
  FROM pg_proc p JOIN spaces s ON s.oid = pronamespace
  JOIN pg_language l ON l.oid = prolang
 WHERE own AND NOT EXISTS (SELECT FROM extended
       WHERE classid = 'pg_proc'::regclass AND objid = p.oid)
"""
_TYPES = """
, types AS MATERIALIZED (
  SELECT t.*, s.name || '.' || quote_ident(typname) AS object,
         'pg_type:' || t.oid AS identity
    FROM pg_type t JOIN spaces s ON s.oid = typnamespace
   WHERE own AND typtype IN ('e', 'd', 'c', 'r', 'b')
     AND (typrelid = 0 OR EXISTS (
          SELECT FROM pg_class WHERE oid = typrelid AND relkind = 'c'))
     AND typcategory <> 'A' AND NOT EXISTS (SELECT FROM extended
         WHERE classid = 'pg_type'::regclass AND objid = t.oid)
)
"""
_OF_TYPES = """
SELECT CASE typtype WHEN 'd' THEN 'domain' ELSE 'type' END, object,
  CASE typtype
    WHEN 'e' THEN 'enum (' || coalesce((
      SELECT string_agg(quote_literal(enumlabel), ', ' ORDER BY enumsortorder)
        FROM pg_enum WHERE enumtypid = t.oid), '') || ')'
    WHEN 'd' THEN concat_ws(' ', format_type(typbasetype, typtypmod),
      CASE WHEN typcollation <> (SELECT typcollation FROM pg_type b
                                  WHERE b.oid = t.typbasetype)
           THEN 'collate ' || typcollation::regcollation END,
      CASE WHEN typnotnull THEN 'not null' END,
      'default ' || pg_get_expr(typdefaultbin, 0))
    WHEN 'c' THEN 'composite'
    WHEN 'r' THEN 'range of ' || (
      SELECT rngsubtype::regtype FROM pg_range WHERE rngtypid = t.oid)
    ELSE 'base' END,
  identity, NULL, NULL, false
  FROM types t
UNION ALL
SELECT 'enum value', object || ' ' || quote_literal(enumlabel), '',
  'pg_enum:' || e.oid, identity, NULL, false
  FROM types t JOIN pg_enum e ON enumtypid = t.oid
UNION ALL
SELECT 'attribute', object || '.' || quote_ident(attname),
  format_type(atttypid, atttypmod), identity || ':' || attnum, identity,
  concat_ws('.', atttypid, atttypmod), false
  FROM types t JOIN pg_attribute ON attrelid = typrelid
 WHERE typtype = 'c' AND attnum > 0 AND NOT attisdropped
UNION ALL
SELECT 'constraint', object || '.' || quote_ident(conname), pg_get_constraintdef(k.oid),
  'pg_constraint:' || k.oid, identity, NULL, false
  FROM types t JOIN pg_constraint k ON contypid = t.oid AND contype = 'c'
"""
# Rights of the owner are left out, and what everybody has by default is among them.
_GRANTS = """
, granted AS MATERIALIZED (
  SELECT CASE relkind WHEN 'S' THEN 'sequence ' WHEN 'r' THEN 'table '
         WHEN 'p' THEN 'table ' ELSE '' END || object AS object,
         identity, relowner AS owner,
         coalesce(relacl, acldefault(
           (CASE relkind WHEN 'S' THEN 's' ELSE 'r' END)::"char", relowner)) AS acl
    FROM relations WHERE own
  UNION ALL
  SELECT 'column ' || object || '.' || quote_ident(attname), identity || ':' || attnum,
         relowner, attacl
    FROM relations r JOIN pg_attribute ON attrelid = r.oid
   WHERE own AND attacl IS NOT NULL AND attnum > 0 AND NOT attisdropped
  UNION ALL
  SELECT 'schema ' || name, 'pg_namespace:' || oid, nspowner,
         coalesce(nspacl, acldefault('n', nspowner))
    FROM spaces WHERE own
  UNION ALL
  SELECT 'function ' || s.name || '.' || quote_ident(proname) || '('
         || pg_get_function_identity_arguments(p.oid) || ')', 'pg_proc:' || p.oid,
         proowner, coalesce(proacl, acldefault('f', proowner))
    FROM pg_proc p JOIN spaces s ON s.oid = pronamespace
   WHERE own AND NOT EXISTS (SELECT FROM extended
         WHERE classid = 'pg_proc'::regclass AND objid = p.oid)
  UNION ALL
  SELECT 'type ' || object, identity, typowner,
         coalesce(typacl, acldefault('T', typowner)) FROM types
)
"""
_OF_GRANTS = """
SELECT 'grant', coalesce(quote_ident(rolname), 'PUBLIC') || ' on ' || object,
  string_agg(privilege_type || CASE WHEN is_grantable THEN ' with grant option' ELSE ''
    END, ', ' ORDER BY privilege_type),
  'grant:' || identity || ':' || grantee, identity, NULL, false
  FROM granted, aclexplode(acl) LEFT JOIN pg_roles o ON o.oid = grantee
 WHERE grantee <> owner
 GROUP BY object, identity, grantee, rolname
UNION ALL
SELECT 'default privileges', concat_ws(' ', 'of', quote_ident(o.rolname),
    'in ' || s.name, 'on', CASE defaclobjtype WHEN 'r' THEN 'tables'
      WHEN 'S' THEN 'sequences' WHEN 'f' THEN 'functions' WHEN 'T' THEN 'types'
      WHEN 'n' THEN 'schemas' ELSE 'others' END),
  (SELECT string_agg(coalesce(quote_ident(rolname), 'PUBLIC') || ' ' || privilege_type
            || CASE WHEN is_grantable THEN ' with grant option' ELSE '' END, ', '
            ORDER BY rolname NULLS FIRST, privilege_type)
     FROM aclexplode(defaclacl) LEFT JOIN pg_roles e ON e.oid = grantee),
  'pg_default_acl:' || d.oid, NULL, NULL, false
  FROM pg_default_acl d LEFT JOIN pg_roles o ON o.oid = defaclrole
  LEFT JOIN spaces s ON s.oid = defaclnamespace
 WHERE own OR defaclnamespace = 0
"""
# A publication of other schemas' tables alone is somebody else's.
_PUBLICATIONS = """
, members AS MATERIALIZED (
  SELECT prpubid AS publication, object AS member, own,
         prpubid || ':' || r.oid AS identity,
         concat_ws(' ', '(' || (
           SELECT string_agg(quote_ident(attname), ', ' ORDER BY attname)
             FROM pg_attribute
            WHERE attrelid = r.oid AND attnum = ANY (prattrs)) || ')',
           'where ' || pg_get_expr(prqual, prrelid)) AS detail
    FROM pg_publication_rel JOIN relations r ON r.oid = prrelid
  UNION ALL
  SELECT pnpubid, 'schema ' || name, own, pnpubid || ':' || s.oid, ''
    FROM pg_publication_namespace JOIN spaces s ON s.oid = pnnspid
), published AS MATERIALIZED (
  SELECT p.*, quote_ident(pubname) AS object, 'pg_publication:' || oid AS identity
    FROM pg_publication p
   WHERE puballtables
      OR NOT EXISTS (SELECT FROM members WHERE publication = p.oid AND NOT own)
      OR EXISTS (SELECT FROM members WHERE publication = p.oid AND own)
)
"""
_OF_PUBLICATIONS = """
SELECT 'publication', object,
  concat_ws(' ', CASE WHEN puballtables THEN 'all tables' END,
    CASE WHEN pubinsert THEN 'insert' END, CASE WHEN pubupdate THEN 'update' END,
    CASE WHEN pubdelete THEN 'delete' END, CASE WHEN pubtruncate THEN 'truncate' END,
    CASE WHEN pubviaroot THEN 'via root' END,
    'generated columns ' || nullif(to_jsonb(p) ->> 'pubgencols', 'n')),
  identity, NULL, NULL, false
  FROM published p
UNION ALL
SELECT 'published', p.object || ' of ' || member, m.detail, 'published:' || m.identity,
  p.identity, NULL, false
  FROM published p JOIN members m ON publication = p.oid AND own
UNION ALL
SELECT 'extension', quote_ident(extname), 'in ' || quote_ident(nspname),
  'pg_extension:' || e.oid, NULL, NULL, false
  FROM pg_extension e JOIN pg_namespace n ON n.oid = extnamespace
UNION ALL
SELECT 'server', quote_ident(srvname), fdwname::text, 'pg_foreign_server:' || s.oid,
  NULL, NULL, false
  FROM pg_foreign_server s JOIN pg_foreign_data_wrapper w ON w.oid = srvfdw
UNION ALL
SELECT 'event trigger', quote_ident(evtname), concat_ws(' ', 'on', evtevent, 'when ' ||
    array_to_string(evttags, ', '), 'runs', evtfoid::regprocedure, CASE evtenabled
    WHEN 'O' THEN '' WHEN 'D' THEN '(disabled)' WHEN 'A' THEN '(always)'
    ELSE '(replica)' END),
  'pg_event_trigger:' || t.oid, NULL, NULL, false
  FROM pg_event_trigger t JOIN pg_proc p ON p.oid = evtfoid
  JOIN spaces s ON s.oid = pronamespace WHERE own
"""
_REST = """
SELECT 'schema', name, '', 'pg_namespace:' || oid, NULL, NULL, false
  FROM spaces WHERE own
UNION ALL
SELECT 'collation', s.name || '.' || quote_ident(collname),
  concat_ws(' ', collprovider::text, collcollate, collctype,
    CASE WHEN collisdeterministic THEN '' ELSE 'not deterministic' END),
  'pg_collation:' || c.oid, NULL, NULL, false
  FROM pg_collation c JOIN spaces s ON s.oid = collnamespace
 WHERE own AND NOT EXISTS (SELECT FROM extended
       WHERE classid = 'pg_collation'::regclass AND objid = c.oid)
UNION ALL
SELECT 'operator', p.oid::regoperator::text, oprcode::regprocedure::text,
  'pg_operator:' || p.oid, NULL, NULL, false
  FROM pg_operator p JOIN spaces s ON s.oid = oprnamespace
 WHERE own AND NOT EXISTS (SELECT FROM extended
       WHERE classid = 'pg_operator'::regclass AND objid = p.oid)
UNION ALL
SELECT 'text search configuration', s.name || '.' || quote_ident(cfgname), (
    SELECT string_agg(maptokentype || ' ' || mapdict::regdictionary, ', '
                      ORDER BY maptokentype, mapseqno)
      FROM pg_ts_config_map WHERE mapcfg = c.oid),
  'pg_ts_config:' || c.oid, NULL, NULL, false
  FROM pg_ts_config c JOIN spaces s ON s.oid = cfgnamespace
 WHERE own AND NOT EXISTS (SELECT FROM extended
       WHERE classid = 'pg_ts_config'::regclass AND objid = c.oid)
"""
# Of what nobody else speaks of, no comment is read either: they are joined by parent.
_COMMENTS = """
SELECT 'comment', '', description, 'comment:' || classoid || ':' || objoid || ':'
    || objsubid, classoid::regclass || ':' || objoid
    || CASE objsubid WHEN 0 THEN '' ELSE ':' || objsubid END, NULL, false
  FROM pg_description d
 WHERE objoid >= 16384 AND classoid <> 'pg_extension'::regclass
   AND description <> 'standard public schema' AND NOT EXISTS (SELECT FROM extended e
       WHERE e.classid = d.classoid AND e.objid = d.objoid)
"""

SETS = _TYPES + _GRANTS + _PUBLICATIONS
OTHERS = (_FUNCTIONS, _OF_TYPES, _OF_GRANTS, _OF_PUBLICATIONS, _REST, _COMMENTS)
