"""A few calls of the SQLite C library through ctypes.

Python's own sqlite3 module is often built without enable_load_extension, so it cannot load the VFS. Only what the interop
workers need is here: open by URI, run SQL, read rows, extended result codes.
"""
import ctypes
import ctypes.util

OK, BUSY, LOCKED, ROW, DONE = 0, 5, 6, 100, 101
BUSY_SNAPSHOT = 517
OPEN_READWRITE, OPEN_CREATE, OPEN_URI, OPEN_NOMUTEX = 0x2, 0x4, 0x40, 0x8000
INTEGER, FLOAT, TEXT, BLOB, NULL = 1, 2, 3, 4, 5
_TRANSIENT = ctypes.c_void_p(-1)


def _load():
    for name in ("libsqlite3.so.0", ctypes.util.find_library("sqlite3")):
        try:
            return ctypes.CDLL(name)
        except (OSError, TypeError):
            continue
    raise SystemExit("no libsqlite3 found")


_lib = _load()
_p, _i, _s = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p
for _name, _result, _args in (
    ("open_v2", _i, [_s, ctypes.POINTER(_p), _i, _s]),
    ("close", _i, [_p]),
    ("errmsg", _s, [_p]),
    ("extended_result_codes", _i, [_p, _i]),
    ("busy_timeout", _i, [_p, _i]),
    ("exec", _i, [_p, _s, _p, _p, _p]),
    ("prepare_v2", _i, [_p, _s, _i, ctypes.POINTER(_p), _p]),
    ("step", _i, [_p]),
    ("finalize", _i, [_p]),
    ("get_autocommit", _i, [_p]),
    ("bind_int64", _i, [_p, _i, ctypes.c_int64]),
    ("bind_text", _i, [_p, _i, _s, _i, _p]),
    ("bind_blob", _i, [_p, _i, _s, _i, _p]),
    ("column_count", _i, [_p]),
    ("column_type", _i, [_p, _i]),
    ("column_int64", ctypes.c_int64, [_p, _i]),
    ("column_double", ctypes.c_double, [_p, _i]),
    ("column_blob", _p, [_p, _i]),
    ("column_bytes", _i, [_p, _i]),
    ("libversion", _s, []),
    ("load_extension", _i, [_p, _s, _s, ctypes.POINTER(_s)]),
    ("enable_load_extension", _i, [_p, _i]),
):
    _f = getattr(_lib, "sqlite3_" + _name)
    _f.restype, _f.argtypes = _result, _args

libversion = _lib.sqlite3_libversion().decode()


class Error(Exception):
    def __init__(self, code, message, sql):
        super().__init__("%d %s (%s)" % (code, message, sql))
        self.code = code  # the extended one

    @property
    def busy(self):
        return self.code & 0xFF in (BUSY, LOCKED)


class Connection:
    def __init__(self, uri, busy_ms=0):
        handle = _p()
        code = _lib.sqlite3_open_v2(uri.encode(), ctypes.byref(handle), OPEN_READWRITE | OPEN_CREATE | OPEN_URI, None)
        self._db = handle
        if code != OK:
            message = self._message()
            self.close()
            raise Error(code, message, "open " + uri)
        _lib.sqlite3_extended_result_codes(handle, 1)
        _lib.sqlite3_busy_timeout(handle, busy_ms)

    def _message(self):
        return _lib.sqlite3_errmsg(self._db).decode(errors="replace") if self._db else "out of memory"

    def query(self, sql, *values):
        """Runs one statement and returns all its rows."""
        statement = _p()
        code = _lib.sqlite3_prepare_v2(self._db, sql.encode(), -1, ctypes.byref(statement), None)
        rows = []
        if code == OK:
            for index, value in enumerate(values, 1):
                if isinstance(value, int):
                    _lib.sqlite3_bind_int64(statement, index, value)
                elif isinstance(value, bytes):
                    _lib.sqlite3_bind_blob(statement, index, value, len(value), _TRANSIENT)
                else:
                    text = value.encode()
                    _lib.sqlite3_bind_text(statement, index, text, len(text), _TRANSIENT)
            while (code := _lib.sqlite3_step(statement)) == ROW:
                rows.append(tuple(self._column(statement, i) for i in range(_lib.sqlite3_column_count(statement))))
        message = self._message() if code not in (OK, DONE) else ""
        final = _lib.sqlite3_finalize(statement)
        if code not in (OK, DONE):
            raise Error(final or code, message, sql)
        return rows

    @staticmethod
    def _column(statement, i):
        kind = _lib.sqlite3_column_type(statement, i)
        if kind == INTEGER:
            return _lib.sqlite3_column_int64(statement, i)
        if kind == FLOAT:
            return _lib.sqlite3_column_double(statement, i)
        if kind == NULL:
            return None
        data = _lib.sqlite3_column_blob(statement, i)
        data = ctypes.string_at(data, _lib.sqlite3_column_bytes(statement, i)) if data else b""
        return data.decode() if kind == TEXT else data

    def value(self, sql, *values):
        rows = self.query(sql, *values)
        return rows[0][0] if rows else None

    def script(self, sql):
        code = _lib.sqlite3_exec(self._db, sql.encode(), None, None, None)
        if code != OK:
            raise Error(code, self._message(), sql)

    @property
    def in_transaction(self):
        return not _lib.sqlite3_get_autocommit(self._db)

    def close(self):
        if self._db:
            code = _lib.sqlite3_close(self._db)
            self._db = None
            if code != OK:
                raise Error(code, "sqlite3_close", "")


def load_extension(path):
    """Loads a permanent extension (a VFS) into this process."""
    db = Connection(":memory:")
    message = _s()
    _lib.sqlite3_enable_load_extension(db._db, 1)
    code = _lib.sqlite3_load_extension(db._db, path.encode(), None, ctypes.byref(message))
    db.close()
    if code != OK:
        raise SystemExit("cannot load %s: %s" % (path, (message.value or b"").decode(errors="replace")))
