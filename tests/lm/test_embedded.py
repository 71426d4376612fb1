"""The base that comes with the package: whole, small, opened by others' readers alike, and able to talk."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, cast

import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor

from clone.lm.base import open_base, packaged_base, resolve_base
from clone.lm.template import Control, LearnedTurn, conversation_segments, prompt_segments
from clone.lm.tokens import Tokens
from clone.records import Role, Turn
from tools.embedded_base import __main__ as maker
from tools.embedded_base import falcon, recipe, talk, train

FOLDER = packaged_base()
TOKENS = Tokens.load(FOLDER)

ENGLISH = ("hey, are you around this weekend?", "yeah i think so, why?", "we could go see that movie you talked about")
RUSSIAN = ("привет, ты сегодня вечером дома?", "да, а что?", "хочу зайти к тебе в гости, поговорить надо")


@pytest.fixture(autouse=True)
def _random_base() -> None:
    """Leave the packaged base in its place, unlike the other tests of this room."""


@pytest.fixture
def tokens() -> Tokens:
    return TOKENS


@pytest.fixture(scope="module")
def model() -> Any:
    """The base as LitGPT opens it, in float32."""
    from litgpt import GPT, Config

    model = GPT(Config.from_file(FOLDER / "model_config.yaml"))
    model.load_state_dict(_with_head({k: v.float() for k, v in load_file(FOLDER / "lit_model.safetensors").items()}))
    return model.eval()


def _with_head(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return weights | {"lm_head.weight": weights["transformer.wte.weight"]}


def _greedy(model: Any, ids: list[int], n: int) -> list[int]:
    out: list[int] = []
    with torch.no_grad():
        for _ in range(n):
            found = model(torch.tensor([ids + out]))
            out.append(int(getattr(found, "logits", found)[0, -1].argmax()))
    return out


def _prompt(tokens: Tokens, text: str, contact: str = "sam") -> list[int]:
    return tokens.encode(prompt_segments(contact, [Turn(Role.THEM, (text,))])).ids


def test_the_folder_is_whole_and_small() -> None:
    base = open_base(FOLDER)
    assert base.name == "embedded"
    assert base.is_head_tied
    assert (FOLDER / "lit_model.safetensors").stat().st_size <= 24_000_000
    assert 8e6 <= base.shape.n_parameters <= 12e6
    assert base.shape.block_size >= 1024
    assert 8_000 <= base.shape.vocab_size <= 16_384
    for name in ("README.md", "LICENSE-DATA.md", "config.json", "tokenizer_config.json", "curve.csv", "curve.png"):
        assert (FOLDER / name).exists(), name


def test_embedded_is_the_packaged_base(tmp_path: Path) -> None:
    assert resolve_base("embedded", tmp_path) == open_base(FOLDER)
    assert list(tmp_path.iterdir()) == []


def test_the_card_gives_the_figures_of_the_run() -> None:
    figures = json.loads((FOLDER / "figures.json").read_text(encoding="utf-8"))
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    for language, bar in (("english", 1.10), ("russian", 0.90)):
        bits = figures["held_out"][language]["windows_of_512"]["as_trial"]
        assert bits <= bar
        assert f"{bits:.3f}" in card
    assert figures["sha256"] == json.loads((FOLDER / "base.json").read_text())["sha256"]


def test_the_control_tokens_come_first(tokens: Tokens) -> None:
    assert [tokens.marks[m] for m in (Control.DOC, Control.THEM, Control.ME, Control.BUBBLE, Control.END)] == [
        *range(5)
    ]


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200))
def test_every_text_comes_back(text: str) -> None:
    ids = TOKENS.encode_text(text)
    assert TOKENS.decode(ids) == text
    assert all(i >= 16 for i in ids)


def test_marks_that_a_friend_types_stay_text(tokens: Tokens) -> None:
    text = "".join(talk.CONTROLS)
    assert tokens.decode(tokens.encode_text(text)) == text
    assert min(tokens.encode_text(text)) >= 16


def test_every_byte_has_a_token(tokens: Tokens) -> None:
    for code in range(256):
        assert tokens.encode_text(bytes([code]).decode("latin-1"))
    assert tokens.n_tokens == 10240


@pytest.mark.parametrize("sign", ["😂", "👍", "🙏", "🔥", "🤔"])
def test_usual_emoji_are_one_token(tokens: Tokens, sign: str) -> None:
    assert len(tokens.encode_text(sign)) == 1


def test_what_the_base_read_is_what_a_twin_is_trained_on(tokens: Tokens) -> None:
    from tokenizers import Tokenizer

    turns = [LearnedTurn(Turn(Role.THEM, ("hi", "you there?")), False), LearnedTurn(Turn(Role.ME, ("да 🙂",)), False)]
    reading = Tokenizer.from_file(str(FOLDER / "tokenizer.json"))
    as_read = reading.encode(talk.as_text("alex", turns), add_special_tokens=False).ids
    assert as_read == tokens.encode(conversation_segments("alex", turns)).ids


@pytest.mark.parametrize(("lines", "most"), [(ENGLISH, 2.2), (RUSSIAN, 1.5)])
def test_it_knows_the_language(model: Any, tokens: Tokens, lines: tuple[str, ...], most: float) -> None:
    """Bits a byte on lines it never saw. One that knows nothing needs 13.3 bits a token, which is over three."""
    turns = [LearnedTurn(Turn((Role.THEM, Role.ME)[i % 2], (text,)), False) for i, text in enumerate(lines)]
    ids = torch.tensor(tokens.encode(conversation_segments("sam", turns)).ids)
    assert len(ids) * math.log2(tokens.n_tokens) / sum(len(text.encode()) for text in lines) > 3
    with torch.no_grad():
        nats = torch.nn.functional.cross_entropy(model(ids[None, :-1])[0], ids[1:], reduction="sum").item()
    assert nats / math.log(2) / sum(len(text.encode()) for text in lines) < most


def test_it_answers_in_turns_of_chat_length(model: Any, tokens: Tokens) -> None:
    end, generator = tokens.marks[Control.END], torch.Generator().manual_seed(0)
    n_ended = 0
    for text in (ENGLISH[0], "did you see the game?", RUSSIAN[0], "что нового?"):
        ids, said = _prompt(tokens, text), list[int]()
        while end not in said and len(said) < 60:
            with torch.no_grad():
                values, which = (model(torch.tensor([ids + said]))[0, -1] / 0.7).topk(50)
            said.append(int(which[torch.multinomial(values.softmax(-1), 1, generator=generator)]))
        n_ended += end in said
        reply = [i for i in said if i != end]
        assert tokens.decode(reply).strip()
        assert {tokens.control(i) for i in reply} <= {None, Control.BUBBLE}
    assert n_ended >= 3


def test_litgpt_and_transformers_say_the_same(model: Any, tokens: Tokens) -> None:
    from litgpt.scripts.convert_lit_checkpoint import copy_weights_falcon
    from transformers import FalconConfig, FalconForCausalLM

    weights: dict[str, Tensor] = {}
    copy_weights_falcon(model.config, weights, dict(model.state_dict()))
    theirs = FalconForCausalLM(FalconConfig.from_pretrained(FOLDER, dtype="float32")).eval()
    theirs.load_state_dict(weights)
    for text in (ENGLISH[0], RUSSIAN[0]):
        ids = _prompt(tokens, text)
        with torch.no_grad():
            gap = (model(torch.tensor([ids])) - theirs(torch.tensor([ids])).logits).abs().max().item()
        assert gap < 1e-3
        assert _greedy(model, ids, 24) == _greedy(theirs, ids, 24)


def test_transformers_tokenizes_alike(tokens: Tokens) -> None:
    from transformers import AutoTokenizer

    theirs = AutoTokenizer.from_pretrained(FOLDER)
    text = "Привет! It's 2026 😂\n\nok"
    assert theirs(text, add_special_tokens=False)["input_ids"] == tokens.encode_text(text)
    assert theirs.eos_token_id == theirs.bos_token_id == tokens.marks[Control.DOC]
    assert theirs.pad_token_id == 5


# -- the script that makes it -----------------------------------------------------------------------------------------


def test_the_plain_model_is_litgpts(tmp_path: Path) -> None:
    from litgpt import GPT, Config

    fields = yaml.safe_load((FOLDER / "model_config.yaml").read_text())
    fields |= {"n_layer": 2, "n_embd": 32, "n_head": 2, "head_size": 16, "intermediate_size": 128, "block_size": 64}
    fields |= {"vocab_size": 400, "padded_vocab_size": 400}
    torch.manual_seed(0)
    ours = falcon.Falcon(recipe.Shape(2, 32, 2, 400, block=64)).eval()
    for p in ours.parameters():
        p.data.mul_(4)
    theirs = GPT(Config(**fields)).eval()
    theirs.load_state_dict(_with_head(dict(ours.state_dict())))
    ids = torch.randint(0, 400, (2, 50))
    with torch.no_grad():
        torch.testing.assert_close(ours(ids), theirs(ids), rtol=1e-4, atol=1e-5)


def test_a_step_of_muon_is_nearly_orthogonal() -> None:
    torch.manual_seed(0)
    for shape in ((3, 16, 16), (2, 64, 16), (2, 16, 64)):
        found = torch.linalg.svdvals(train.orthogonalised(torch.randn(shape)))
        assert found.min() > 0.3
        assert found.max() < 1.5


def test_a_teacher_that_knows_the_text_gives_the_loss_of_the_text() -> None:
    torch.manual_seed(0)
    targets = torch.randint(0, 11, (2, 5))
    features, head = torch.randn(2, 5, 7), torch.randn(11, 7)
    certain = torch.nn.functional.one_hot(targets, 11).float() * 1e4  # a teacher whose head is the identity
    both = falcon.distilled_loss(features, head, targets, certain, torch.eye(11), 0.75)
    torch.testing.assert_close(both, falcon.text_loss(features, head, targets))


def test_crude_words_are_found_and_their_neighbours_spared() -> None:
    assert talk.is_crude("Ну ты и СУКА!")
    assert talk.is_crude("Заебись")
    for harmless in ("учебник и хлеб", "тебе небо", "служебная записка", "команда", "прохладно"):
        assert not talk.is_crude(harmless), harmless


def test_figures_count_the_bits_of_marks_but_not_their_bytes(tokens: Tokens) -> None:
    held = train.HeldOut(torch.zeros(10, dtype=torch.long), text_bytes=20, trial_bytes=40)
    assert held.bits(math.log(2)) == {"as_trial": 0.25, "per_text_byte": 0.5}


@pytest.fixture(scope="module")
def corpus_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The three files, filled with invented talk."""
    import io
    import lzma
    import random
    import tarfile

    folder = tmp_path_factory.mktemp("talk")
    rng = random.Random(0)
    words = ["maybe", "the cat sat.", "really?", "I think so", "of course", "it was late", "yes", "no"]

    def said(n: int) -> str:
        return " ".join(rng.choice(words) for _ in range(n))

    with lzma.open(folder / "changelog_dev.jsonl.xz", "wt", encoding="utf-8", preset=0) as file:
        for episode in range(8):
            for turn in range(60):
                file.write(json.dumps(["show", str(episode), turn, "A", said(rng.randint(2, 40))]) + "\n")
    with lzma.open(folder / "rusdracor_ostrovsky_bulgakov.jsonl.xz", "wt", encoding="utf-8", preset=0) as file:
        for turn in range(60):
            file.write(json.dumps(["author", "play", turn, "Б", "Как дела, " + said(4)]) + "\n")
    jokes = "\n\n\n".join(f"- Как дела {said(3)}?\n- Хорошо {said(3)}" for _ in range(60)).encode()
    with tarfile.open(folder / "koziev_anekdots_dialogues.tar.xz", "w:xz") as archive:
        member = tarfile.TarInfo("jokes.txt")
        member.size = len(jokes)
        archive.addfile(member, io.BytesIO(jokes))
    return folder


class _Stopped(Exception):
    pass


def test_a_stopped_run_goes_on_to_the_same_weights(
    corpus_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(out: Path) -> bytes:
        maker.make(corpus_folder, out, recipe.TINY, torch.device("cpu"), 1)
        return (out / "embedded" / "lit_model.safetensors").read_bytes()

    whole = run(tmp_path / "whole")

    grade, n_calls = train.grade, 0

    def grade_and_stop(*args: Any, **kw: Any) -> float:
        nonlocal n_calls
        n_calls += 1
        if n_calls in (3, 11):  # in the middle of the teacher, then of the student
            raise _Stopped
        return grade(*args, **kw)

    monkeypatch.setattr(train, "grade", grade_and_stop)
    for _ in range(2):
        with pytest.raises(_Stopped):
            run(tmp_path / "stopped")
    assert n_calls == 11
    assert run(tmp_path / "stopped") == whole
    made = open_base(tmp_path / "whole" / "embedded")
    assert made.shape.n_layer == 2
    assert (
        cast(dict[str, Any], json.loads((made.path / "figures.json").read_text()))["ngram"]["english"]["as_trial"] > 0
    )
