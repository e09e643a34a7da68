from __future__ import annotations

import base64
import hashlib
import importlib.resources
import importlib.util
import pickle
import random
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from ctxpack.errors import ContractError, MissingExtraError, ModelError, RecipeError
from ctxpack.tokens import ApproximateCounter, TokenCounter, counter_from

MODELS = Path(str(importlib.resources.files("ctxpack") / "models"))
BUNDLED = MODELS / "tokenizer.json"

TEXTS = {
    "prose": (
        "The lighthouse keeper wrote one line a day for thirty-one years. Most of the lines are"
        " about the weather, but on the last page she explains why the lamp went out in March: the"
        " supply boat hadn't come, and there was no oil left. Nobody had asked her before."
    ),
    "names": (
        "Krzysztof Wiśniewski and Oluwaseun Adeyemi met Dr. Matsumoto in Ouagadougou. McAllister's"
        " report (NATO, 1987) names Herzegovina, Saskatchewan and the Diocese of Rockhampton."
    ),
    "science": (
        "Methotrexate inhibits dihydrofolate reductase; hepatotoxicity was seen in 3.2% of patients"
        " (n = 1,204), and thrombocytopenia in 0.7% (95% CI 0.4-1.1, p < 0.001)."
    ),
    "capitals": (
        "THE LICENSOR SHALL NOT BE LIABLE FOR ANY INDIRECT, INCIDENTAL OR CONSEQUENTIAL DAMAGES"
        " ARISING OUT OF THIS AGREEMENT, WHETHER OR NOT FORESEEABLE."
    ),
    "python": (
        "def merge_intervals(pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:\n"
        '    """Return the union, sorted."""\n'
        "    out = []\n"
        "    for lo, hi in sorted(pairs):\n"
        "        if out and lo <= out[-1][1]:\n"
        "            out[-1] = (out[-1][0], max(hi, out[-1][1]))  # grow\n"
        "        else:\n"
        "            out.append((lo, hi))\n"
        "    return out\n"
    ),
    "javascript": (
        "const fetchUser = async (userId) => {\n"
        "\tconst res = await fetch(`/api/users/${userId}`);\n"
        "\tif (!res.ok) { throw new HTTPError(res.status); }\n\treturn res.json();\n};\n"
    ),
    "table": (
        "| Sensor | Range (m) | Accuracy | Price |\n|--------|----------:|:--------:|------:|\n"
        "| LX-200 | 0.05 - 40 | ±3 mm    | $1,249.00 |\n"
        "| Q7     | 0.2 - 12  | ±1.5 cm  | $89.95 |\n"
    ),
    "json": (
        '{"id": 48213, "tags": ["new", "on_sale"], "price": {"amount": 19.99, "currency": "EUR"},'
        ' "active": true, "createdAt": "2024-05-17T08:31:02.114Z", "parent": null}'
    ),
    "urls": (
        "https://docs.example.org/guide/v2.1/getting-started.html#install-from-source\n"
        "http://img.example.com/a/3f9c/thumb_640x480.jpg?sig=Zk8_q1&exp=1717171717\n"
        "ftp://mirror.example.net/pub/linux/kernel/v6.x/linux-6.9.3.tar.xz\n"
    ),
    "numbers": (
        "3.14159 2.71828 -0.57721 1e-9 6.022e23 1,000,000 0x7fff 192.168.0.1 +49 30 901820"
        " 2024-01-31 23:59:59 4111 1111 1111 1111 12/25/2023 99.9% 1/3 5:4 007"
    ),
    "chinese": "图书馆周一闭馆。读者可以在网上续借，每本书最多续借两次，逾期每天罚款五角。",
    "traditional": "颱風警報發布後，所有渡輪立即停駛，旅客請改搭巴士，並留意氣象局的最新消息。",
    "japanese": (
        "終電は午前零時十五分に出発します。乗り遅れた場合は、駅前のタクシーをご利用ください。"
    ),
    "korean": (
        "도서관은 월요일에 문을 닫습니다."
        " 책은 두 번까지 연장할 수 있으며 연체료는 하루에 백 원입니다."
    ),
    "thai": "ห้องสมุดปิดทุกวันจันทร์ ผู้อ่านสามารถยืมหนังสือได้ครั้งละห้าเล่ม และต่ออายุได้สองครั้ง",
    "hindi": ("पुस्तकालय सोमवार को बंद रहता है। पाठक एक बार में पाँच किताबें ले सकते हैं और दो बार बढ़ा सकते हैं।"),
    "arabic": (
        "المكتبة مغلقة يوم الاثنين. يمكن للقراء استعارة خمسة كتب في المرة الواحدة وتجديدها مرتين."
    ),
    "hebrew": "הספרייה סגורה ביום שני. אפשר לשאול חמישה ספרים בכל פעם ולהאריך פעמיים.",
    "russian": (
        "Библиотека закрыта по понедельникам. Читатель может взять пять книг и продлить их дважды."
    ),
    "greek": (
        "Η βιβλιοθήκη είναι κλειστή τη Δευτέρα. Κάθε αναγνώστης μπορεί να δανειστεί πέντε βιβλία."
    ),
    "german": "Die Bücherei bleibt montags geschlossen. Säumnisgebühren fallen für jeden Tag an.",
    "spanish": "La biblioteca cierra los lunes. Cada lector puede llevarse cinco libros.",
    "vietnamese": "Thư viện đóng cửa vào thứ Hai. Mỗi người đọc có thể mượn năm cuốn sách một lần.",
    "base64": base64.b64encode(random.Random(7).randbytes(600)).decode(),
    "hexadecimal": hashlib.sha512(b"ctxpack").hexdigest(),
    "letters": "".join(random.Random(7).choices("abcdefghijklmnopqrstuvwxyz", k=300)),
    "emoji": "Great job team! 🎉🎉 See you 👩‍💻👨🏽‍🚀 tomorrow ❤️ at 9️⃣ 🇫🇷🇯🇵 🫠🦩",
    "white space": (
        "\n\n\n   a\t\tb  \r\n\r\n      c   \n \n\t\n        d"
        "                                        e\n\n\n\n\n"
    ),
    "rules": "=" * 40 + "\nTitle\n" + "-" * 40 + "\n* * *\n......... 7\n",
    "controls": "a\x00\x00\x1b[31mred\x1b[0m\x7f\x0c\x0bb",
}

CL100K = {  # tokens of each text by tiktoken's cl100k_base
    "prose": 58,
    "names": 60,
    "science": 69,
    "capitals": 29,
    "python": 97,
    "javascript": 40,
    "table": 76,
    "json": 64,
    "urls": 76,
    "numbers": 98,
    "chinese": 44,
    "traditional": 54,
    "japanese": 45,
    "korean": 48,
    "thai": 79,
    "hindi": 98,
    "arabic": 63,
    "hebrew": 72,
    "russian": 41,
    "greek": 78,
    "german": 24,
    "spanish": 19,
    "vietnamese": 37,
    "base64": 562,
    "hexadecimal": 68,
    "letters": 163,
    "emoji": 57,
    "white space": 15,
    "rules": 13,
    "controls": 14,
}


@pytest.fixture(scope="module")
def approximate() -> TokenCounter:
    """Return the offline default."""
    return counter_from()


@pytest.fixture
def bundled() -> Tokenizer:
    """Return the bundled tokenizer, cutting and padding to four tokens."""
    tokenizer = Tokenizer.from_file(str(BUNDLED))
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=4)
    return tokenizer


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let tiktoken read the tables that come with LlamaIndex, so that it needs no network."""
    pytest.importorskip("tiktoken")
    if importlib.util.find_spec("llama_index") is None:
        pytest.skip("no tables")
    core = importlib.util.find_spec("llama_index.core")
    if core is None or core.origin is None:
        pytest.skip("no tables")
    folder = Path(core.origin).parent / "_static/tiktoken_cache"
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(folder))


class TestApproximate:
    @pytest.mark.parametrize("kind", TEXTS)
    def test_keeps_up_with_byte_pairs(self, approximate: TokenCounter, kind: str) -> None:
        """No kind of text is under-counted by more than 5 % against cl100k_base."""
        assert approximate.count(TEXTS[kind]) >= 0.95 * CL100K[kind]

    def test_is_close_on_prose(self, approximate: TokenCounter) -> None:
        """English prose is over-counted by at most 8 %."""
        assert approximate.count(TEXTS["prose"]) <= 1.08 * CL100K["prose"]

    def test_calls_itself_an_estimate(self, approximate: TokenCounter) -> None:
        """The name says what counts, and it is not exact."""
        assert (approximate.name, approximate.exact) == ("approximate", False)

    @given(st.text())
    def test_stays_within_the_bytes(self, approximate: TokenCounter, text: str) -> None:
        """A count is at least 1 for any text, and at most its UTF-8 bytes."""
        assert bool(text) <= approximate.count(text) <= len(text.encode())

    @given(st.lists(st.text()))
    def test_counts_many_alike(self, approximate: TokenCounter, texts: list[str]) -> None:
        """`count_many` gives the numbers of `count`."""
        assert approximate.count_many(texts) == [approximate.count(text) for text in texts]

    @given(st.text(), st.text())
    def test_adds_up_at_spaces(self, approximate: TokenCounter, left: str, right: str) -> None:
        """Counts add up where no run goes across: between a word and the space after it."""
        left, right = left.rstrip() + ".", " " + right
        parts = approximate.count(left) + approximate.count(right)
        assert approximate.count(left + right) == parts

    @given(st.text(alphabet="ab1. \n", max_size=60), st.integers(0, 60))
    def test_a_cut_changes_one_run(self, approximate: TokenCounter, text: str, at: int) -> None:
        """A cut inside a run changes the count by less than a run can have."""
        parts = approximate.count(text[:at]) + approximate.count(text[at:])
        assert abs(parts - approximate.count(text)) <= 32

    @pytest.mark.parametrize("text", ["\ud800", "caf\u00e9 \udfff", "\ud83d\ude00 x"])
    def test_counts_lone_surrogates(self, approximate: TokenCounter, text: str) -> None:
        """Surrogates, which have no UTF-8 form, count too."""
        assert approximate.count(text) >= 1

    @pytest.mark.parametrize("unit", ["a", " ", "\n", "中", "=", "aB1+"])
    def test_long_runs_are_linear(self, approximate: TokenCounter, unit: str) -> None:
        """Twenty times the run has about twenty times the count."""
        one, twenty = approximate.count(unit * 6_400), approximate.count(unit * 128_000)
        assert twenty == pytest.approx(20 * one, rel=0.01)

    def test_memo_is_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A full memo starts again, and the counts stay the same."""
        monkeypatch.setattr("ctxpack.tokens.approximate._MEMO_ENTRIES", 3)
        small = ApproximateCounter()
        assert small.count(TEXTS["prose"]) == ApproximateCounter().count(TEXTS["prose"])
        assert len(small._memo) <= 3

    def test_serves_many_threads(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Threads that share a counter, and its memo while it starts again, count alike."""
        monkeypatch.setattr("ctxpack.tokens.approximate._MEMO_ENTRIES", 20)
        counter = counter_from()
        alone = counter.count_many(list(TEXTS.values()))
        with ThreadPoolExecutor(8) as pool:
            together = pool.map(counter.count, list(TEXTS.values()) * 20)
        assert list(together) == alone * 20


class TestBundledFile:
    def test_is_the_one_in_the_notice(self) -> None:
        """The licence note names the SHA-256 of the file."""
        digest = hashlib.sha256(BUNDLED.read_bytes()).hexdigest()
        assert digest in (MODELS / "NOTICE").read_text()

    def test_neither_cuts_nor_pads(self) -> None:
        """The file loads as a `tokenizers` file that has no truncation and no padding."""
        tokenizer = Tokenizer.from_file(str(BUNDLED))
        assert tokenizer.truncation is None
        assert tokenizer.padding is None


class TestExact:
    @pytest.mark.usefixtures("tables")
    def test_recorded_counts_are_those_of_tiktoken(self) -> None:
        """``tiktoken:cl100k_base`` gives the counts that the approximation is held to."""
        counter = counter_from("tiktoken:cl100k_base")
        assert {kind: counter.count(text) for kind, text in TEXTS.items()} == CL100K

    @pytest.mark.usefixtures("tables")
    def test_takes_an_encoding(self) -> None:
        """A `tiktoken.Encoding` counts special tokens in the text as plain text."""
        import tiktoken

        counter = counter_from(tiktoken.get_encoding("cl100k_base"))
        assert counter.name == "tiktoken:cl100k_base"
        assert counter.count("<|endoftext|>") > 1

    def test_counts_past_truncation(self, bundled: Tokenizer) -> None:
        """A tokenizer that cuts and pads counts the whole text, and is left as it was."""
        before = bundled.to_str()
        counter = counter_from(bundled)
        assert counter.count("one two three four five six") == 6
        assert counter.count("one") == 1
        assert bundled.to_str() == before

    def test_takes_a_tokenizer_file(self, tmp_path: Path, bundled: Tokenizer) -> None:
        """``tokenizers:<path>`` counts with that file and is called by its name."""
        path = tmp_path / "mine.json"
        bundled.save(str(path))
        counter = counter_from(f"tokenizers:{path}")
        assert (counter.name, counter.exact) == ("tokenizers:mine.json", True)
        assert counter.count("one two three four five six") == 6

    def test_takes_a_fast_transformers_tokenizer(self, bundled: Tokenizer) -> None:
        """A Hugging Face tokenizer counts without special tokens, whatever it was set to."""
        transformers = pytest.importorskip("transformers")
        tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=bundled)
        counter = counter_from(tokenizer)
        assert counter.name.startswith("transformers:")
        assert counter.count("one two three four five six") == 6

    def test_loads_a_transformers_folder(self, tmp_path: Path, bundled: Tokenizer) -> None:
        """``transformers:<path>`` loads the tokenizer of a folder."""
        transformers = pytest.importorskip("transformers")
        transformers.PreTrainedTokenizerFast(tokenizer_object=bundled).save_pretrained(tmp_path)
        assert counter_from(f"transformers:{tmp_path}").count("one two three four five six") == 6

    def test_lone_surrogates_reach_no_tokenizer(self, bundled: Tokenizer) -> None:
        """A lone surrogate counts as the replacement character."""
        counter = counter_from(bundled)
        assert counter.count("a \ud800 b") == counter.count("a \ufffd b")

    def test_takes_a_function(self) -> None:
        """A function from str to int counts, and is called by its name."""
        counter = counter_from(len)
        assert (counter.name, counter.exact) == ("callable:len", True)
        assert counter.count_many(["abc", "", "de"]) == [3, 0, 2]

    @pytest.mark.parametrize("result", [1.5, -1, None, "3"])
    def test_refuses_what_is_no_count(self, result: Any) -> None:
        """A function that gives anything but an int of at least 0 broke the contract."""
        with pytest.raises(ContractError, match=re.escape(f"got {result!r}")):
            counter_from(lambda text: result).count("text")


class TestCounterFrom:
    def test_returns_a_counter_as_it_is(self, approximate: TokenCounter) -> None:
        """A counter, a third party's included, is used as it is."""
        assert counter_from(approximate) is approximate

    def test_loads_on_first_count(self, tmp_path: Path) -> None:
        """A damaged file is met by the first count, not by the constructor."""
        path = tmp_path / "damaged.json"
        path.write_text("{")
        counter = counter_from(f"tokenizers:{path}")
        with pytest.raises(ModelError, match=r"tokenizers:damaged\.json: cannot be loaded"):
            counter.count("text")

    @pytest.mark.parametrize(
        ("value", "message"),
        [
            ("tiktokn:cl100k_base", "did you mean 'tiktoken:<encoding>'"),
            ("aproximate", "did you mean 'approximate'"),
            ("callable:len", "known: approximate, "),
            ("tokenizers:missing.json", "there is no such file"),
            ("tokenizers:", "did you mean 'tokenizers:<path>'"),
            (5, "must be a name, a tokenizer or a function, got 5"),
        ],
    )
    def test_explains_what_it_refuses(self, value: Any, message: str) -> None:
        """The message names the rule, the value and the nearest known name."""
        with pytest.raises(RecipeError, match=re.escape(message)):
            counter_from(value)

    def test_knows_the_encodings(self) -> None:
        """An unknown encoding is answered with the nearest one."""
        pytest.importorskip("tiktoken")
        with pytest.raises(RecipeError, match="did you mean 'tiktoken:cl100k_base'"):
            counter_from("tiktoken:cl100k").count("text")

    def test_names_the_missing_extra(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A package that is not installed is known before the first count."""
        monkeypatch.setitem(sys.modules, "transformers", None)
        with pytest.raises(MissingExtraError, match=r"ctxpack-rag\[torch\]"):
            counter_from("transformers:any")

    @pytest.mark.parametrize("value", [None, len, f"tokenizers:{BUNDLED}"])
    def test_pickles(self, value: Any) -> None:
        """A counter goes to another process, used before or not, and counts alike there."""
        counter = counter_from(value)
        text = TEXTS["prose"]
        count = counter.count(text)
        copy = pickle.loads(pickle.dumps(counter))
        assert (copy.name, copy.count(text)) == (counter.name, count)
