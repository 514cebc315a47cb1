"""The questions of each notebook: three, with one right answer and a word to every answer."""

import json
from pathlib import Path

import pytest

from liverutils.course.questions import as_markdown, put_into, read_questions

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"
QUESTIONS = read_questions()
# The start asks nothing.
TAUGHT = [path for path in sorted(NOTEBOOKS.glob("[0-9]*.ipynb")) if path.stem != "00_start"]


@pytest.mark.parametrize("path", TAUGHT, ids=lambda path: path.stem)
def test_a_notebook_has_three_questions_with_feedback_to_every_answer(path):
    questions = QUESTIONS[path.stem]
    assert len(questions) == 3
    for question in questions:
        assert question.ask.endswith(("?", "."))
        assert len(question.feedback) >= 3 and question.right in question.feedback
        assert min(map(len, question.feedback.values())) >= 15
        assert len(set(question.feedback.values())) == len(question.feedback)


@pytest.mark.parametrize("path", TAUGHT, ids=lambda path: path.stem)
def test_a_notebook_asks_them_before_it_sums_up(path):
    cells = json.loads(path.read_text())["cells"]
    (place,) = [i for i, c in enumerate(cells) if "questions" in c["metadata"].get("tags", [])]
    assert place == len(cells) - 2
    text = as_markdown(QUESTIONS[path.stem])
    assert "".join(cells[place]["source"]) == text, "run python -m liverutils.course.questions"


def test_the_right_answer_does_not_stand_at_one_place():
    places = [
        list(question.feedback).index(question.right)
        for questions in QUESTIONS.values()
        for question in questions
    ]
    assert min(places.count(place) for place in (0, 1, 2)) >= len(places) / 6


def test_answers_unfold_and_one_is_called_right():
    for questions in QUESTIONS.values():
        text = as_markdown(questions)
        answers = sum(len(question.feedback) for question in questions)
        assert text.count("<details><summary>") == text.count("</p></details>") == answers
        assert text.count("<b>Right.</b>") == 3


def test_writing_twice_changes_nothing():
    notebook = {"cells": [{"cell_type": "markdown", "metadata": {}, "source": ["# End"]}] * 2}
    put_into(notebook, "first")
    put_into(notebook, "## Questions\nsecond")
    assert [cell["source"] for cell in notebook["cells"]] == [
        ["# End"],
        ["## Questions\n", "second"],
        ["# End"],
    ]
