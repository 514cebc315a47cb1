"""What instructors get: hand-outs whose checks note their verdicts, slides, groups' cohorts."""

import json

import nbformat
import pandas as pd

from liverutils.course import check_machine, repository_root
from liverutils.course.handout import Record, read_grades, write_handout
from liverutils.course.slides import write_slides
from liverutils.course.start import training_minutes
from liverutils.phantom import make_cohort


def test_a_check_says_what_it_says_and_notes_it(tmp_path, capsys):
    record = Record(tmp_path / "ann" / "22_unet.answers.json")
    record.path.parent.mkdir()
    record.of(1)(..., 3)
    record.of(1)(4, 3)
    record.of(1)(3, 3, why="Because.")
    record.of(2)(4, 3, hint="Think.")
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("Not answered") and said[1].startswith("Wrong")
    assert said[2] == "Right! Because."
    assert json.loads(record.path.read_text()) == {
        "1": {"verdict": "right", "tries": 2},
        "2": {"verdict": "wrong", "tries": 1},
    }
    (row,) = read_grades(tmp_path).to_dict("records")
    answers = {"right": 1, "wrong": 1, "open": 0, "tries": 3}
    assert row == {"file": "ann/22_unet.answers.json"} | answers


def test_a_handout_has_every_exercise_noted_and_no_solution(tmp_path):
    written = write_handout(tmp_path / "handout")
    assert len(written) >= 24 and not (tmp_path / "handout" / "solutions").exists()
    for path in written:
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
        code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
        checks = [c for c in notebook.cells if "check" in c.metadata.get("tags", [])]
        for number, cell in enumerate(checks, 1):
            assert f"record.of({number})(" in cell.source
        assert f'Record("{path.stem}.answers.json")' in code


def test_slides_have_a_figure_each(tmp_path):
    pages = write_slides(tmp_path)
    text = next(page for page in pages if page.stem == "22_unet").read_text()
    slides = text.split("\n\n---\n\n")
    assert len(slides) >= 5
    pictures = [slide.rsplit("(", 1)[1].rstrip(")\n") for slide in slides[1:]]
    assert all((tmp_path / picture).is_file() for picture in pictures)


def test_another_seed_gives_other_patients_under_other_names(tmp_path):
    def made(name: str, **options) -> pd.DataFrame:
        folder = make_cohort(
            "phantom-smoke", tmp_path / name, progress=False, patients=1, **options
        )
        return pd.read_csv(folder / "patients.csv")

    own, seven, again = made("own"), made("seven", seed=7), made("seven", seed=7)
    assert again.equals(seven)
    assert own.patient[0] == "phantom-smoke-000"
    assert seven.patient[0] == "phantom-smoke-seed7-000"
    assert own.liver_ml[0] != seven.liver_ml[0]


def test_the_start_notebook_knows_the_machine_and_others_minutes():
    table = check_machine()
    assert list(table.index) == ["cores", "memory", "GPU", "bfloat16", "disk"]
    assert table["what it means"].str.len().min() > 0
    minutes = training_minutes(repository_root() / "logs")
    assert minutes.loc["UNet", "minutes"] > 0 and minutes.loc["UNet", "machine"]
