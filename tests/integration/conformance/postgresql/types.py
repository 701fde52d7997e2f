"""Values of every built-in type of PostgreSQL that a column can have."""

from __future__ import annotations

from collections.abc import Mapping

VALUES: Mapping[str, tuple[str, ...]] = {
    "bool": ("true", "false"),
    "bytea": (r"\x", r"\x00ff5c0a0d27"),
    "char": ("x", r"\303"),
    "name": ("a name",),
    "int2": ("-32768", "32767"),
    "int4": ("-2147483648", "2147483647"),
    "int8": ("-9223372036854775808", "9223372036854775807"),
    "text": ("", "NULL", r"\N", r"\.", "tab\there", "two\r\nlines", "ünïcode 😀 \u202e", "'quo''ted\""),
    "varchar": ("", "varchar"),
    "bpchar": ("padded   ",),
    "oid": ("0", "4294967295"),
    "tid": ("(4294967295,65535)",),
    "xid": ("4294967295",),
    "xid8": ("18446744073709551615",),
    "cid": ("4294967295",),
    "json": ('{"b": 1,  "a": [null, 1e400, "\\u00e9"], "b": 2}',),
    "jsonb": ('{"b": 1, "a": [null, 12345678901234567890.123, "é"]}', "[]", "null"),
    "jsonpath": ('$.a[*] ? (@ > 1 && @.b like_regex "^x")',),
    "point": ("(-1.5,1e308)",),
    "lseg": ("[(1,2),(3,4)]",),
    "path": ("((1,2),(3,4))", "[(1,2),(3,4),(5,6)]"),
    "box": ("(3,4),(1,2)",),
    "polygon": ("((0,0),(1,1),(2,0))",),
    "line": ("{1,-1,0.5}",),
    "circle": ("<(1,2),3>",),
    "float4": ("NaN", "-Infinity", "1.1754944e-38", "3.4028235e+38", "-0"),
    "float8": ("NaN", "Infinity", "2.2250738585072014e-308", "0.1", "-0"),
    "numeric": ("NaN", "0.00", "-1e-1000", "9" * 500, "1.10"),
    "money": ("-$1,234.56",),
    "macaddr": ("08:00:2b:01:02:03",),
    "macaddr8": ("08:00:2b:01:02:03:04:05",),
    "inet": ("192.168.0.1/24", "::ffff:1.2.3.4"),
    "cidr": ("10.0.0.0/8", "2001:db8::/32"),
    "date": ("infinity", "-infinity", "4713-01-01 BC", "5874897-12-31"),
    "time": ("00:00:00", "24:00:00", "12:34:56.789012"),
    "timetz": ("12:34:56.789012+15:59:59",),
    "timestamp": ("infinity", "4713-01-01 00:00:00 BC", "2026-03-29 01:30:00.000001"),
    "timestamptz": ("-infinity", "2026-03-29 01:30:00.000001+00", "294276-12-31 23:59:59.999999+00"),
    "interval": ("1 year 2 mons -3 days 04:05:06.789", "-178000000 years", "00:00:00"),
    "bit": ("1",),
    "varbit": ("", "101010101"),
    "uuid": ("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",),
    "pg_lsn": ("FFFFFFFF/FFFFFFFF",),
    "txid_snapshot": ("10:20:10,14,15",),
    "pg_snapshot": ("10:20:10,14,15",),
    "tsvector": ("'fat':2A,4B 'it''s':1 'rat':5",),
    "tsquery": ("'fat' & ( 'rat' | !'cat' ) <-> 'dog':*",),
    "int4range": ("empty", "[1,10)", "(,5)"),
    "int8range": ("[1,)",),
    "numrange": ("(0.1,0.2]",),
    "daterange": ("[2026-01-01,infinity]",),
    "tsrange": ('["2026-01-01 00:00:00","2026-01-02 00:00:00")',),
    "tstzrange": ('(,"2026-01-02 00:00:00+00")',),
    "int4multirange": ("{}", "{[1,3),[5,7)}"),
    "int8multirange": ("{[1,)}",),
    "nummultirange": ("{(0.1,0.2]}",),
    "datemultirange": ("{[2026-01-01,2026-02-01)}",),
    "tsmultirange": ('{["2026-01-01 00:00:00","2026-01-02 00:00:00")}',),
    "tstzmultirange": ("{(,infinity)}",),
    "int2vector": ("1 2 3",),
    "oidvector": ("1 2 3",),
    "refcursor": ("a cursor",),
    "aclitem": ("postgres=arw/postgres",),
    "regclass": ("pg_class", "-"),
    "regcollation": ('"C"',),
    "regconfig": ("simple",),
    "regdictionary": ("simple",),
    "regnamespace": ("pg_catalog",),
    "regoper": ("||/",),
    "regoperator": ("+(integer,integer)",),
    "regproc": ("now",),
    "regprocedure": ("abs(integer)",),
    "regrole": ("postgres",),
    "regtype": ("integer[]",),
    "xml": ('<a b="c">é<!-- x --></a>',),
}

INTERNAL = frozenset(
    {
        *("pg_node_tree", "pg_ndistinct", "pg_dependencies", "pg_mcv_list", "gtsvector"),
        *("pg_brin_bloom_summary", "pg_brin_minmax_multi_summary"),
    }
)
"""Types that take no value from outside."""

LIST_TYPES = (
    "SELECT typname::text FROM pg_type WHERE typnamespace = 'pg_catalog'::regnamespace "
    "AND typtype IN ('b', 'r', 'm') AND typcategory <> 'A' AND typrelid = 0"
)
