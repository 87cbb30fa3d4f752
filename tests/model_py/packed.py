# SPDX-License-Identifier: Apache-2.0
"""How a document lies in Redis (consumer/catalog/packed.h), and back: written for a second time, over libzstd itself."""
import base64
import ctypes
import ctypes.util
import re
import uuid
from functools import cache
from pathlib import Path

DICTIONARY = Path(__file__).resolve().parents[2] / "consumer/catalog/packed_dictionary.c"
BASE64, HEX, UUID, OWN = 1, 2, 3, 4
DOCUMENT_MAX = 4 << 20


@cache
def dictionary():
    body = DICTIONARY.read_text().split("{", 1)[1].split("}", 1)[0]
    return bytes(int(x) for x in re.findall(r"\d+", body))


@cache
def zstd():
    lib = ctypes.CDLL("libzstd.so.1")
    for name in ("ZSTD_decompress_usingDict", "ZSTD_compress2", "ZSTD_CCtx_loadDictionary", "ZSTD_CCtx_setParameter",
                 "ZDICT_trainFromBuffer", "ZDICT_finalizeDictionary"):
        getattr(lib, name).restype = ctypes.c_size_t
    for name in ("ZSTD_createDCtx", "ZSTD_createCCtx"):
        getattr(lib, name).restype = ctypes.c_void_p
    return lib


def failed(size):
    return zstd().ZSTD_isError(ctypes.c_size_t(size))


@cache
def _decompressor():
    return ctypes.c_void_p(zstd().ZSTD_createDCtx())


def decompress(frame):
    out = ctypes.create_string_buffer(DOCUMENT_MAX)
    size = zstd().ZSTD_decompress_usingDict(_decompressor(), out, ctypes.c_size_t(len(out)), frame, ctypes.c_size_t(len(frame)),
                                            dictionary(), ctypes.c_size_t(len(dictionary())))
    if failed(size):
        raise ValueError("no zstd frame of a document")
    return out.raw[:size]


def unpack_strings(packed, key=b""):
    out, at = bytearray(), 0
    while at < len(packed):
        kind = packed[at]
        at += 1
        if kind == OWN:
            out += str(uuid.UUID(key[-36:].decode())).encode()
            continue
        if kind not in (BASE64, HEX, UUID):
            out.append(kind)
            continue
        size, shift = (16, None) if kind == UUID else (0, 0)
        while shift is not None:
            byte = packed[at]
            at += 1
            size |= (byte & 127) << shift
            shift = shift + 7 if byte & 128 else None
        data = bytes(packed[at:at + size])
        at += size
        out += {BASE64: base64.b64encode, HEX: lambda d: d.hex().encode(), UUID: lambda d: str(uuid.UUID(bytes=d)).encode()}[kind](data)
    return bytes(out)


def unpack(stored, key=b""):
    """The document that is stored so under this key."""
    form = stored[:1]
    if form == b"-":
        return stored[1:]
    if form == b"p":
        return unpack_strings(stored[1:], key)
    if form == b"z":
        return unpack_strings(decompress(stored[1:]), key)
    if form == b"u":
        return b'"' + str(uuid.UUID(bytes=bytes(stored[1:]))).encode() + b'"'
    return stored


def _length(n):
    out = bytearray()
    while n >= 128:
        out.append(128 | n & 127)
        n >>= 7
    return bytes(out + bytes([n]))


def pack_strings(doc):
    """For who makes a dictionary."""
    def short(match):
        text = match[1]
        if re.fullmatch(rb"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", text):
            return b'"\x03' + uuid.UUID(text.decode()).bytes + b'"'
        if len(text) >= 16 and len(text) % 2 == 0 and re.fullmatch(rb"[0-9a-f]*", text):
            return b'"\x02' + _length(len(text) // 2) + bytes.fromhex(text.decode()) + b'"'
        if len(text) >= 16 and len(text) % 4 == 0 and re.fullmatch(rb"[A-Za-z0-9+/]*={0,2}", text):
            data = base64.b64decode(text)
            if base64.b64encode(data) == text:
                return b'"\x01' + _length(len(data)) + data + b'"'
        return match[0]
    return re.sub(rb'"([^"\\]*)"', short, doc)
