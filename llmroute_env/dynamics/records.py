"""Records that are copied whole, wherever their words lie.

On a GPU the words of a record lie apart (llmroute_env/cuda/layout.py). Numba's own assignment of
one record to another copies what lies between the first and the last of them: others' words.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic, overload

from llmroute_env.dynamics.compiled import CHOSEN

WORD_BYTES = 8


def copy_record(target: Any, source: Any) -> None:
    """Overwrite a record by another with the same fields, whose words may lie elsewhere."""
    for name in target.dtype.names:
        target[name] = source[name]


def words_of(record: Any) -> list[int]:
    """Where the words of a record type begin in which its fields lie, in bytes."""
    return sorted({record.offset(name) // WORD_BYTES * WORD_BYTES for name in record.fields})


@intrinsic
def copy_words(typing_context: Any, target: Any, source: Any) -> Any:
    """Word by word, those of records that consist of whole words."""
    places = list(zip(words_of(target), words_of(source), strict=True))

    def copy(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        byte, word = ir.IntType(8).as_pointer(), ir.IntType(8 * WORD_BYTES).as_pointer()
        to, of = (builder.bitcast(pointer, byte) for pointer in arguments)
        for place, own in places:
            there, here = (
                builder.bitcast(builder.gep(p, [ir.Constant(ir.IntType(64), at)]), word)
                for p, at in ((to, place), (of, own))
            )
            builder.store(builder.load(here, align=WORD_BYTES), there, align=WORD_BYTES)
        return context.get_dummy_value()

    return types.void(target, source), copy


@intrinsic
def copy_bytes(typing_context: Any, target: Any, source: Any) -> Any:
    """All at once, of records that lie in one piece."""

    def copy(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.store(builder.load(arguments[1]), arguments[0], align=1)
        return context.get_dummy_value()

    return types.void(target, source), copy


def _copy_record(target: Any, source: Any) -> Any:
    lie = [record.size > WORD_BYTES * len(words_of(record)) for record in (target, source)]
    copy: Any = copy_words if any(lie) else copy_bytes

    def copied(target: Any, source: Any) -> None:
        copy(target, source)

    return copied


overload(copy_record, jit_options=CHOSEN, strict=False)(_copy_record)
