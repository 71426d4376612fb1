from pathlib import Path

import pytest

from clone.errors import RecipeError
from clone.recipe import Recipe, load_recipe


def test_no_recipe_is_all_defaults() -> None:
    assert load_recipe(None) == Recipe()


def test_three_mistakes_are_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "name: mine\nprepare:\n  sesion_gap_minutes: 60\n  validation_share: 2\nfinetune:\n  epochs: many\n"
    )
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    assert caught.value.exit_code == 2
    assert caught.value.message.splitlines() == [
        f"3 mistakes in {path}:",
        "  prepare.validation_share: should be less than 1, not 2.",
        "  prepare.sesion_gap_minutes: no such setting, did you mean prepare.session_gap_minutes?",
        "  finetune.epochs: should be a valid number, unable to parse string as a number, not 'many'.",
    ]


def test_set_goes_over_the_file_and_is_validated(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\nfinetune:\n  epochs: 2\n")
    assert load_recipe(path, ["finetune.epochs=1"]).finetune.epochs == 1
    with pytest.raises(RecipeError, match=r"finetune\.epochs: should be greater than 0"):
        load_recipe(path, ["finetune.epochs=-1"])
    with pytest.raises(RecipeError, match="not of the form key=value"):
        load_recipe(path, ["finetune.epochs"])


def test_a_missing_recipe_names_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "telegram.yaml").write_text("name: telegram\n")
    with pytest.raises(RecipeError) as caught:
        load_recipe(tmp_path / "telegarm.yaml")
    assert caught.value.hint == f"Did you mean {tmp_path / 'telegram.yaml'}?"


@pytest.mark.parametrize("text", ["name: [", "- a\n- b\n", "name: base\n", "name: a/b\n"])
def test_what_is_no_recipe_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError):
        load_recipe(path)


def test_shipped_recipes_load() -> None:
    for path in sorted((Path(__file__).parents[1] / "pipelines").glob("*.yaml")):
        assert load_recipe(path).name == path.stem
