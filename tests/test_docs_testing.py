"""The recipes of the documentation are tests that pass as they stand."""

import pytest

from doc_code import code_blocks

pytest_plugins = ["pytester"]

CONFTEST, HEAD, *RECIPES = [code for _, code in code_blocks("testing.md")]

# In real time, generously: where a recipe sleeps, it is for an hour.
A_MOMENT = 30


def count(recipe):
    """How many tests a recipe is."""
    return recipe.count("async def test_") * (4 if "parametrize" in recipe else 2)


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_is_a_test(recipe):
    assert count(recipe)


def test_each_recipe_passes_by_itself_on_both_event_loops_in_a_moment(pytester):
    pytest.importorskip("httpx")
    pytester.makeini("[pytest]\nfilterwarnings = error\naddopts = --strict-markers")
    pytester.makeconftest(CONFTEST)
    for n, recipe in enumerate(RECIPES):
        pytester.makepyfile(**{f"test_recipe_{n}": HEAD + recipe})
    result = pytester.runpytest_inprocess("-q")
    result.assert_outcomes(passed=sum(map(count, RECIPES)))
    assert result.duration < A_MOMENT
