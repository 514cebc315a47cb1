"""A notebook's parameters: what is wrong ends the run in one sentence, before data are touched."""

import nbformat
import papermill
import pytest
import torch
from papermill.exceptions import PapermillExecutionError

from liverutils.course.parameters import RULES, check_parameters
from liverutils.errors import BadInput
from liverutils.models import build_model, input_rule
from liverutils.models.build import MODELS
from liverutils.runs import read_catalogue
from liverutils.runs.catalogue import PROFILES
from tests.conftest import REPOSITORY

NOTEBOOKS = sorted((REPOSITORY / "notebooks").glob("[0-9]*.ipynb"))
GOOD = {
    "run_name": "UNet",
    "dataset": "phantom",
    "data_dir": "data",
    "image_size": 128,
    "view": "axial",
    "context_slices": 0,
    "fraction": 1.0,
    "patch_size": 0,
    "lesion_share": 0.33,
    "epochs": 2,
    "batch_size": 4,
    "lr": 0.001,
    "init": "default",
    "pretrained": False,
    "seed": 0,
    "resume": True,
    "device": "auto",
}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"view": "axail"}, "view is 'axail' (text): it must be 'axial', 'coronal' or 'sagittal'."),
        ({"image_size": 0}, "image_size is 0: it must be a whole number from 1 up."),
        ({"image_size": "128"}, "image_size is '128' (text): it must be a whole number from 1 up."),
        (
            {"image_size": 100},
            "image_size is 100: it must be a multiple of 16, such as 96 or 112, for UNet.",
        ),
        (
            {"image_size": 8},
            "image_size is 8: it must be a multiple of 16, such as 16 or 32, for UNet.",
        ),
        (
            {"patch_size": 40},
            "patch_size is 40: it must be a multiple of 16, such as 32 or 48, for UNet.",
        ),
        ({"patch_size": 256}, "patch_size is 256: it must be at most image_size, 128."),
        ({"batch_size": 0}, "batch_size is 0: it must be a whole number from 1 up."),
        ({"batch_size": True}, "batch_size is True (a truth value): it must be a whole number"),
        ({"context_slices": -1}, "context_slices is -1: it must be a whole number from 0 up."),
        ({"epochs": 0}, "epochs is 0: it must be a whole number from 1 up."),
        ({"epochs": 3.0}, "epochs is 3.0 (a decimal number): it must be a whole number from 1 up."),
        ({"epochs": None}, "epochs is None (nothing): it must be a whole number from 1 up."),
        ({"fraction": 0}, "fraction is 0: it must be a number above 0, up to 1."),
        ({"fraction": 25}, "fraction is 25: it must be a number above 0, up to 1."),
        ({"lesion_share": 0.7}, "lesion_share is 0.7 (a decimal number): it must be a number from"),
        ({"lr": float("nan")}, "lr is nan (a decimal number): it must be a number above 0"),
        ({"lr": "1e-3"}, "lr is '1e-3' (text): it must be a number above 0, such as 0.001."),
        ({"init": "he"}, "init is 'he' (text): it must be 'default' or 'normal'."),
        ({"dataset": "LiTS"}, "dataset is 'LiTS' (text): it must be 'phantom', "),
        (
            {"device": "gpu"},
            "device is 'gpu' (text): it must be 'auto', 'cpu', 'cuda' or 'cuda:0'.",
        ),
        ({"seed": -1}, "seed is -1: it must be a whole number from 0 up."),
        ({"resume": "no"}, "resume is 'no' (text): it must be True or False."),
        ({"resume": 1}, "resume is 1: it must be True or False."),
        ({"data_dir": ""}, "data_dir is '': it must be the folder or archive of the data."),
    ],
)
def test_a_wrong_parameter_is_named_with_the_right_ones(wrong, said):
    with pytest.raises(BadInput) as error:
        check_parameters(GOOD | wrong, network="UNet")
    assert str(error.value).startswith(said)
    assert error.value.fault == "bad_parameter"


@pytest.mark.parametrize("name", ["", "a/b", "../UNet", "..", ".hidden", "my run", "a\\b", 7, None])
def test_a_run_has_a_name_and_no_path(name):
    with pytest.raises(BadInput, match="run_name is .* a name of letters, digits, '_', '-'"):
        check_parameters(GOOD | {"run_name": name})


def test_right_parameters_pass_and_stay_as_they_are():
    names = dict(GOOD)
    check_parameters(names, network="UNet")
    assert names == GOOD


@pytest.mark.parametrize(
    ("text", "value"), [("false", False), ("False", False), ("true", True), ("True", True)]
)
def test_truth_values_may_come_as_text(text, value):
    names = GOOD | {"resume": text}
    check_parameters(names)
    assert names["resume"] is value


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_named():
    with pytest.raises(BadInput, match="device is 'cuda', but PyTorch sees no GPU here"):
        check_parameters(GOOD | {"device": "cuda"})


def test_a_deeplab_needs_two_slices_a_batch():
    with pytest.raises(BadInput, match="batch_size is 1: it must be at least 2, for DeepLabV3Plus"):
        check_parameters(GOOD | {"batch_size": 1}, network="DeepLabV3Plus")
    with pytest.raises(BadInput, match="init is 'normal' .* pretrained=True"):
        check_parameters(GOOD | {"pretrained": True, "init": "normal"}, network="DeepLabV3Plus")


@pytest.mark.parametrize("stride", [16, 8])
@pytest.mark.parametrize("network", MODELS)
def test_what_a_network_asks_of_its_input_is_what_it_needs(network, stride):
    """The rule's smallest size runs, and the next one below the rule's step does not."""
    if stride == 8 and not network.startswith("DeepLab"):
        pytest.skip("has no output stride")
    small = {"width": 2} if network in ("UNet", "ResUNet", "MultiView", "SimpleCNN") else {}
    small |= {"hidden": 8} if network in ("AlexNet", "VGG19") else {}
    small |= {"encoder_output_stride": 8} if stride == 8 else {}
    model = build_model(network, in_channels=1, classes=3, **small).train()
    rule = input_rule(network, stride)
    with torch.no_grad():
        model(torch.zeros(max(2, rule.batch_size), 1, rule.at_least, rule.at_least))
        for wrong in {rule.at_least - 1, rule.at_least + rule.multiple // 2} - {rule.at_least}:
            if network != "ResNet_segmentation":  # which resizes whatever it is given
                with pytest.raises((RuntimeError, BadInput)):
                    model(torch.zeros(2, 1, wrong, wrong))
        if rule.batch_size > 1:
            with pytest.raises(ValueError, match="more than 1 value per channel"):
                model(torch.zeros(1, 1, rule.at_least, rule.at_least))


# --- Through papermill ------------------------------------------------------------------------

DECLARED = "run_name = 'UNet'  # a name\nepochs = 3  # passes\nresume = True  # go on"


def history(injected: str, *later: str) -> list[str]:
    """IPython's list of the cells that ran."""
    return ["", "import sys", DECLARED, f"# Parameters\n{injected}\n", *later]


@pytest.mark.parametrize(
    ("injected", "said"),
    [
        (
            "epoch = 3",
            "There is no parameter 'epoch' in this notebook; did you mean epochs? "
            "It declares run_name, epochs, resume.",
        ),
        (
            "learning_rate = 0.1",
            "There is no parameter 'learning_rate' in this notebook; "
            "it declares run_name, epochs, resume.",
        ),
        ("epochs = 3\nlr = 0.1", "There is no parameter 'lr' in this notebook; "),
    ],
)
def test_a_parameter_that_the_notebook_does_not_declare_is_named(injected, said):
    with pytest.raises(BadInput) as error:
        check_parameters({"In": history(injected, "check")})
    assert str(error.value).startswith(said)
    assert error.value.fault == "unknown_parameter"


def test_declared_parameters_pass_and_are_checked():
    names = {"In": history("epochs = 4"), "run_name": "UNet", "epochs": 4, "resume": "false"}
    check_parameters(names)
    assert names["resume"] is False
    with pytest.raises(BadInput, match="epochs is '4'"):
        check_parameters(names | {"epochs": "4"})


def test_the_check_may_run_again_after_the_whole_notebook():
    """Then results have the names that other notebooks' parameters have."""
    later = ("def f(:", "patients = prediction.score_test(learn, store, logs)", "shown = 3")
    names = {"In": history("epochs = 4", *later), "run_name": "UNet", "epochs": 4, "resume": True}
    check_parameters(names | {"patients": "a table"})


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_notebook_checks_its_parameters_first(path):
    cells = [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
    at = next(i for i, c in enumerate(cells) if "parameters" in c.metadata.get("tags", []))
    after = [c.source for c in cells[at + 1 :]]
    if path.stem == "01_ct_scans":  # whose parameters stand before its imports
        after = after[1:]
    assert after[0].removeprefix("course.").startswith("check_parameters(globals()")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_parameter_has_its_rule(path):
    assert papermill.inspect_notebook(str(path)).keys() <= RULES.keys()


@pytest.mark.parametrize("profile", PROFILES)
def test_the_catalogue_passes_the_door(profile):
    for run in read_catalogue(REPOSITORY / "notebooks" / "runs.yaml", profile).values():
        names = run.declared | run.parameters
        check = next(
            cell.source
            for cell in nbformat.read(run.notebook, as_version=4).cells
            if "check_parameters(globals()" in cell.source
        )
        network = names.get("network", check.partition('network="')[2].partition('"')[0])
        check_parameters(names, network=network)


def test_a_misspelt_parameter_ends_the_run_before_data_are_touched(tmp_path):
    given = {"epoch": 3, "dataset": "phantom-smoke", "data_dir": str(tmp_path / "data")}
    with pytest.raises(PapermillExecutionError) as error:
        papermill.execute_notebook(
            str(REPOSITORY / "notebooks" / "22_unet.ipynb"),
            str(tmp_path / "out.ipynb"),
            given,
            kernel_name="python3",
            progress_bar=False,
        )
    assert error.value.ename == "BadInput"
    assert "no parameter 'epoch'" in error.value.evalue and "mean epochs?" in error.value.evalue
    assert not (tmp_path / "data").exists()
