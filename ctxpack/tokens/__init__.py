"""How many tokens a text has: by the target model's tokenizer, or by a bundled approximation."""

from __future__ import annotations

import difflib
import functools
import importlib
import importlib.util
import operator
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from ctxpack.errors import ContractError, CtxpackError, MissingExtraError, ModelError, RecipeError
from ctxpack.tokens.approximate import ApproximateCounter

Count = Callable[[str], int]


@runtime_checkable
class TokenCounter(Protocol):
    """Counts tokens; safe to call from many threads, and equal texts have equal counts."""

    @property
    def name(self) -> str:
        """What counts, as the report says it: ``approximate``, ``tiktoken:cl100k_base``."""
        ...

    @property
    def exact(self) -> bool:
        """Whether the counts are those of the target model's tokenizer."""
        ...

    def count(self, text: str) -> int:
        """Return the tokens of `text`, special tokens left out; 0 for the empty text."""
        ...

    def count_many(self, texts: Sequence[str]) -> list[int]:
        """Return `count` of every text, in order; the same numbers as one by one."""
        ...


def counter_from(value: Any = None) -> TokenCounter:
    """Return the counter that `value` stands for; nothing is loaded before the first count.

    Args:
        value: None or ``"approximate"`` for the offline default; ``"tiktoken:<encoding>"``,
            ``"tokenizers:<path of a tokenizer.json>"`` or ``"transformers:<name or path>"``; a
            `tokenizers.Tokenizer`, a `tiktoken.Encoding`, a Hugging Face tokenizer, a function from
            str to int; or a counter, which is returned as it is.

    Raises:
        RecipeError: `value` is none of these, or its file does not exist.
        MissingExtraError: the package that `value` needs is not installed.
    """
    if value is None:
        return ApproximateCounter()
    if isinstance(value, str):
        return _counter_of_spec(value)
    if isinstance(value, TokenCounter) and not isinstance(value, type):
        return value
    if _is_a(value, "tokenizers", "Tokenizer"):
        name = f"tokenizers:{type(value.model).__name__}"
        return _LoadedCounter(name, functools.partial(_count_with_tokenizers, value))
    if _is_a(value, "tiktoken", "Encoding"):
        load = functools.partial(_count_with_tiktoken, value)
        return _LoadedCounter(f"tiktoken:{value.name}", load)
    if _is_a(value, "transformers.tokenization_utils_base", "PreTrainedTokenizerBase"):
        name = f"transformers:{value.name_or_path or type(value).__name__}"
        return _LoadedCounter(name, functools.partial(_count_with_transformers, value))
    if callable(value):
        name = f"callable:{getattr(value, '__qualname__', type(value).__qualname__)}"
        return _LoadedCounter(name, functools.partial(_count_with_function, value, name))
    raise RecipeError(f"token_counter: must be a name, a tokenizer or a function, got {value!r}")


class _LoadedCounter:
    """Counts with a function that is made on the first count of each process.

    Two threads may make it at the same time; the later one wins, and both count alike. No lock, so
    none can stay locked in a forked child.
    """

    exact = True

    def __init__(self, name: str, load: Callable[[], Count]) -> None:
        self.name = name
        self._load = load
        self._count: Count | None = None

    def __repr__(self) -> str:
        return f"counter_from({self.name!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.name, self._load)

    def count(self, text: str) -> int:
        if not text:
            return 0
        count = self._count
        if count is None:
            count = self._count = self._made()
        return count(text)

    def count_many(self, texts: Sequence[str]) -> list[int]:
        return [self.count(text) for text in texts]

    def _made(self) -> Count:
        try:
            return self._load()
        except CtxpackError:
            raise
        except Exception as error:  # each package has errors of its own
            raise ModelError(f"token_counter: {self.name}: cannot be loaded: {error}") from error


def _is_a(value: Any, module: str, name: str) -> bool:
    """Tell whether `value` is an instance of a class whose module is loaded; load nothing."""
    cls = getattr(sys.modules.get(module), name, None)
    return cls is not None and isinstance(value, cls)


_FORMS = {
    "approximate": "approximate",
    "tiktoken": "tiktoken:<encoding>",
    "tokenizers": "tokenizers:<path>",
    "transformers": "transformers:<name or path>",
}


def _counter_of_spec(spec: str) -> TokenCounter:
    if spec == "approximate":
        return ApproximateCounter()
    package, _, name = spec.partition(":")
    loaders = {"tiktoken": _load_tiktoken, "tokenizers": _load_file, "transformers": _load_auto}
    if package not in loaders or not name:
        raise _unknown(spec, package, _FORMS)
    if importlib.util.find_spec(package) is None:
        extra = "torch" if package == "transformers" else package
        raise MissingExtraError(f"token_counter: {spec!r}", extra)
    shown = name
    if package == "tokenizers":
        if not Path(name).is_file():
            raise RecipeError(f"token_counter: {spec!r}: there is no such file")
        shown = Path(name).name
    return _LoadedCounter(f"{package}:{shown}", functools.partial(loaders[package], name))


def _unknown(spec: str, key: str, known: Mapping[str, str]) -> RecipeError:
    near = difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean {known[near[0]]!r}? " if near else ""
    listed = ", ".join(known.values())
    return RecipeError(f"token_counter: unknown name {spec!r}; {hint}known: {listed}")


def _load_tiktoken(encoding: str) -> Count:
    tiktoken = importlib.import_module("tiktoken")
    known = {name: f"tiktoken:{name}" for name in tiktoken.list_encoding_names()}
    if encoding not in known:
        raise _unknown(f"tiktoken:{encoding}", encoding, known)
    return _count_with_tiktoken(tiktoken.get_encoding(encoding))


def _load_file(path: str) -> Count:
    from tokenizers import Tokenizer

    return _count_with_tokenizers(Tokenizer.from_file(path))


def _load_auto(name: str) -> Count:
    transformers = importlib.import_module("transformers")
    return _count_with_transformers(transformers.AutoTokenizer.from_pretrained(name))


def _count_with_tiktoken(encoding: Any) -> Count:
    return lambda text: len(encoding.encode_ordinary(text))


def _count_with_tokenizers(tokenizer: Any) -> Count:
    # A copy: the caller's tokenizer may cut and pad, now or later, and is not ours to change.
    copy = type(tokenizer).from_str(tokenizer.to_str())
    copy.no_truncation()
    copy.no_padding()
    return lambda text: len(copy.encode(_encodable(text), add_special_tokens=False))


def _count_with_transformers(tokenizer: Any) -> Count:
    if tokenizer.is_fast:
        return _count_with_tokenizers(tokenizer.backend_tokenizer)
    return lambda text: len(tokenizer.tokenize(_encodable(text)))


def _count_with_function(function: Callable[[str], object], name: str) -> Count:
    def count(text: str) -> int:
        result = function(text)
        try:
            number = operator.index(result)  # type: ignore[arg-type]
        except TypeError:
            number = -1
        if number < 0:
            raise ContractError(f"{name}: a count must be an int of at least 0, got {result!r}")
        return number

    return count


def _encodable(text: str) -> str:
    """Return `text` with U+FFFD for lone surrogates, which have no UTF-8 form."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
