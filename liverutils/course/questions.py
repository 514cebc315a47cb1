"""Questions at the end of every notebook: `python -m liverutils.course.questions` writes them in.

They unfold by themselves wherever Markdown is shown: in JupyterLab, on Colab, on the site, without
a network.
"""

import json
from dataclasses import dataclass
from typing import Any

import yaml

from liverutils.course.repository import repository_root
from liverutils.files import written_aside

TAG = "questions"


@dataclass(frozen=True)
class Question:
    """A question, its answers with what is said to each, and the one that is right."""

    ask: str
    feedback: dict[str, str]
    right: str


def read_questions() -> dict[str, list[Question]]:
    """Read `notebooks/questions.yaml`: notebook → its questions; answers stand by the alphabet."""
    content = yaml.safe_load((repository_root() / "notebooks" / "questions.yaml").read_text())
    return {
        notebook: [_question(**entry) for entry in asked] for notebook, asked in content.items()
    }


def _question(ask: str, right: dict[str, str], wrong: dict[str, str]) -> Question:
    (answer,) = right
    return Question(ask, dict(sorted((right | wrong).items())), answer)


def as_markdown(questions: list[Question]) -> str:
    """Return the questions as a cell's text; a click on an answer unfolds what is said to it."""
    text = ["## Questions", "Which answer is right? Click on one, and it says why or why not."]
    for number, question in enumerate(questions, 1):
        text.append(f"**{number}.** {question.ask}")
        text += [
            f"<details><summary>{answer}</summary>"
            f"<p><b>{'Right' if answer == question.right else 'No'}.</b> {said}</p></details>"
            for answer, said in question.feedback.items()
        ]
    return "\n\n".join(text)


def put_into(notebook: dict[str, Any], text: str) -> None:
    """Put the cell with the questions before the last one, which sums up; replace an older one."""
    cells = notebook["cells"]
    cells[:] = [cell for cell in cells if TAG not in cell["metadata"].get("tags", [])]
    cell = {"cell_type": "markdown", "id": TAG, "metadata": {"tags": [TAG]}}
    cells.insert(len(cells) - 1, cell | {"source": text.splitlines(keepends=True)})


def main() -> None:
    """Write the questions into every notebook that has some."""
    for name, questions in read_questions().items():
        path = repository_root() / "notebooks" / f"{name}.ipynb"
        if not path.is_file():
            continue
        notebook = json.loads(path.read_text())
        put_into(notebook, as_markdown(questions))
        with written_aside(path) as aside:
            aside.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
